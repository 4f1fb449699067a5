"""When a pool whose containers fail to start may try again."""

from __future__ import annotations


class Backoff:
    """Doubling pauses between failed starts, in seconds; a good start resets it."""

    def __init__(self, first: float = 1.0, most: float = 60.0) -> None:
        self._first = first
        self._most = most
        self._pause = 0.0
        self.until = 0.0

    def failed(self, now: float) -> None:
        """A start failed: no other one before `until`."""
        if now > self.until + self._most:  # the last failure is long ago, whatever went well since
            self._pause = 0.0
        self._pause = min(self._most, self._pause * 2 or self._first)
        self.until = now + self._pause

    def succeeded(self) -> None:
        """A start went well."""
        self._pause = 0.0
        self.until = 0.0
