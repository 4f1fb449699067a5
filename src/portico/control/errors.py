"""What the control side refuses, and how: each error knows the HTTP status of its problem answer."""

from __future__ import annotations

from typing import ClassVar


class ControlError(Exception):
    """A request that could not be carried out. The message is shown to the user and says what to do."""

    status: ClassVar[int] = 500
    title: ClassVar[str] = "Internal error"

    def __init__(self, message: str, detail: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.detail = detail


class InvalidRequestError(ControlError):
    """The request contradicts itself or the rules of names, paths and manifests."""

    status = 400
    title = "Invalid request"


class UnauthorizedError(ControlError):
    """No valid token came with the request."""

    status = 401
    title = "Unauthorized"


class NotFoundError(ControlError):
    """There is no such app, version, function, secret, token, container or call."""

    status = 404
    title = "Not found"


class ConflictError(ControlError):
    """What was asked for contradicts something that exists."""

    status = 409
    title = "Conflict"


class TooLargeError(ControlError):
    """A body is over its limit."""

    status = 413
    title = "Content too large"


class BusyError(ControlError):
    """A bound of the server is reached; `retry_after` seconds later the same request may pass."""

    status = 429
    title = "Too many requests"

    def __init__(self, message: str, retry_after: int = 1) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class StoreError(ControlError):
    """The database cannot be read or written now (disk full, locked, gone)."""

    status = 503
    title = "Store unavailable"


class InvalidParameterError(ControlError):
    """A call's class parameter is missing, ill-typed or unknown."""

    status = 422
    title = "Invalid parameter"


class DeployError(ControlError):
    """A version cannot go live; what served before still does. `detail` is a log or a traceback."""

    status = 422
    title = "Deploy failed"
