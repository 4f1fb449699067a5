"""Limits of the data plane, and the token bucket that bounds its rate."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

ROUNDING = 1e-6  # seconds; more than what sums of floating-point numbers are wrong by


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds of SPEC §6. Sizes in bytes, times in seconds."""

    request_body: int = 4 * 1024**3
    head: int = 64 * 1024
    """Largest request head: its request line and header lines, with their line ends and the empty line."""
    headers: int = 256
    websocket_message: int = 2 * 1024**2
    head_timeout: float = 10.0
    idle_timeout: float = 75.0
    replay_body: int = 64 * 1024
    """Largest request body kept for a second try on another container."""
    connections: int | None = None
    """Client connections at once; None is no bound."""
    upstream_connections: int | None = None
    """Connections to containers at once, idle ones included; None is no bound."""


class TokenBucket:
    """At most ``rate · t + burst`` takes in any time t; with a `rate` of None, no bound.

    `burst` is at least 1: a bucket that cannot hold one token would give none.
    """

    def __init__(self, rate: float | None, burst: float, clock: Callable[[], float]) -> None:
        self._rate = rate
        self._burst = burst
        self._clock = clock
        self._tokens = burst
        self._updated = clock()

    def take(self) -> bool:
        """Take one token, if there is one."""
        if self._rate is None:
            return True
        now = self._clock()
        self._tokens = min(self._burst, self._tokens + (now - self._updated) * self._rate)
        self._updated = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True

    @property
    def retry_after(self) -> int:
        """Whole seconds after which a token is there, unless others take it."""
        if self._rate is None:
            return 0
        missing = (1 - self._tokens) / self._rate
        return max(1, math.ceil(missing + ROUNDING))
