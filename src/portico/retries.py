"""Retry policy of function calls."""

from __future__ import annotations

from portico.checks import whole
from portico.exception import InvalidError
from portico.wire import manifest


class Retries:
    """How often a failed call is run again, and after what delays (seconds).

    The n-th delay is ``initial_delay * backoff_coefficient ** (n - 1)``, at most `max_delay`. Raises
    `InvalidError` for values that cannot be.
    """

    def __init__(
        self,
        *,
        max_retries: int,
        backoff_coefficient: float = 2.0,
        initial_delay: float = 1.0,
        max_delay: float = 60.0,
    ) -> None:
        if backoff_coefficient < 1:
            raise InvalidError(
                f"backoff_coefficient must be at least 1.0, not {backoff_coefficient!r}; 1.0 keeps delays equal"
            )
        if initial_delay < 0 or max_delay < initial_delay:
            raise InvalidError(
                f"delays must be 0 <= initial_delay <= max_delay, not {initial_delay!r} and {max_delay!r}"
            )
        self.spec = manifest.Retries(
            max_retries=whole("max_retries", max_retries, 0),
            backoff_coefficient=float(backoff_coefficient),
            initial_delay=float(initial_delay),
            max_delay=float(max_delay),
        )

    def __repr__(self) -> str:
        return repr(self.spec)
