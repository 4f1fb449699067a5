"""Why an input did not get a slot."""

from __future__ import annotations


class PoolError(Exception):
    """No slot can be had. The message is for the person who sent the input."""


class NeedsGpu(PoolError):
    """The function needs a GPU that this server does not have."""


class QueueFull(PoolError):
    """As many inputs wait for the function as may wait; `retry_after` is in seconds."""

    def __init__(self, limit: int, retry_after: int = 1) -> None:
        super().__init__(f"{limit} inputs are waiting for this function already")
        self.retry_after = retry_after


class StartFailed(PoolError):
    """A container could not start. `traceback` is the user's own, where there is one."""

    def __init__(self, message: str, traceback: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.traceback = traceback


class StartTimeout(PoolError):
    """No container had room within `startup_timeout`."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"no container had room within {seconds:g} s (startup_timeout)")


class PoolStopped(PoolError):
    """The app was stopped while the input waited, or its new version has no such function."""

    def __init__(self, message: str = "the app was stopped") -> None:
        super().__init__(message)


class PoolsInUse(PoolError):
    """As many combinations of parameter values as a class may have are busy; `retry_after` is in seconds."""

    def __init__(self, limit: int, retry_after: int = 1) -> None:
        super().__init__(
            f"{limit} combinations of class parameters are in use, and no more can run at once"
        )
        self.retry_after = retry_after


class BadParameter(PoolError):
    """A class parameter is missing, ill-typed or unknown; `name` says which."""

    def __init__(self, name: str, message: str) -> None:
        super().__init__(message)
        self.name = name
