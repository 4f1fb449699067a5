"""Time, as far as pools need it: the part of an event loop that tests replace."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol


class Timer(Protocol):
    """What `Clock.call_at` gives back."""

    def cancel(self) -> None:
        """Do not call after all."""


class Clock(Protocol):
    """The part of an event loop that a pool uses for time, so that tests bring their own."""

    def time(self) -> float:
        """Monotonic seconds."""

    def call_at(self, when: float, callback: Callable[[], object], /) -> Timer:
        """Call back at `when`."""
