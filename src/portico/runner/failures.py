"""Why a container does not start."""

from __future__ import annotations

from portico.runner.tracebacks import summary, trimmed
from portico.wire.container import Failed, StartPhase


class CannotServe(Exception):
    """What the user wrote cannot be served. The text says what to do; a traceback would add nothing."""


class StartFailed(Exception):
    """A phase of the start failed. `failed` is what the server is told."""

    def __init__(self, failed: Failed) -> None:
        super().__init__(failed.message)
        self.failed = failed

    @classmethod
    def of(cls, phase: StartPhase, error: BaseException) -> StartFailed:
        """The failure of `phase` by `error`."""
        if isinstance(error, CannotServe):
            return cls(Failed(phase=phase, message=str(error)))
        return cls(Failed(phase=phase, message=summary(error), traceback=trimmed(error)))
