"""Every error Portico raises at its users; `Error` is the base of all of them."""

from __future__ import annotations

import builtins


class Error(Exception):
    """Base of Portico's errors."""


class InvalidError(Error):
    """Something was declared or called in a way that cannot work; the message names the fix."""


class NotFoundError(Error):
    """No app, function, secret or other named thing of that name exists on the server."""


class AlreadyExistsError(Error):
    """Something of that name exists and may not be replaced without being told so."""


class ConflictError(Error):
    """The request does not fit the present state, such as a URL label another app holds."""


class AuthError(Error):
    """The server does not know the token, or none was given."""


class ConnectionError(Error, builtins.ConnectionError):
    """No server could be reached."""


class TimeoutError(Error, builtins.TimeoutError):
    """Something took longer than it was given."""


class FunctionTimeoutError(TimeoutError):
    """A function ran longer than its ``timeout``."""


class OutputExpiredError(TimeoutError):
    """The result of a call is no longer kept."""


class ExecutionError(Error):
    """An operation is not possible now, such as calling a function of an app that does not run."""


class RemoteError(Error):
    """A remote failure whose own exception could not be brought here; the message is its text."""


class DeserializationError(Error):
    """A value that came from elsewhere could not be unpickled here."""


class SerializationError(Error):
    """A value could not be pickled to be sent."""


class RequestSizeError(Error):
    """A payload is larger than the server takes."""


class VersionError(Error):
    """The server and this client do not speak the same version of the API."""


class InternalError(Error):
    """The server failed; its log has the reason."""


class DeprecationError(DeprecationWarning):
    """A spelling that still works and has a newer name."""
