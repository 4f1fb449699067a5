"""What the server's problem answers (RFC 9457) become on this side."""

from __future__ import annotations

import msgspec

from portico import exception
from portico.wire.api import DeployFailed, Problem


class DeployError(exception.RemoteError):
    """A deploy failed on the server; what served before goes on. `detail` is the log's end or a traceback."""

    def __init__(self, message: str, detail: str = "") -> None:
        super().__init__(message)
        self.detail = detail

    @classmethod
    def from_event(cls, event: DeployFailed) -> DeployError:
        """The exception for the last record of a failed deploy."""
        return cls(event.message, event.detail)


def unreachable(url: str, reason: object) -> exception.ConnectionError:
    """The server at `url` did not take the connection."""
    if "CERTIFICATE_VERIFY_FAILED" in str(reason):
        return exception.ConnectionError(
            f"the certificate of the Portico server at {url} is not trusted ({reason})\n"
            "Check PORTICO_SERVER_URL; if an authority of your own issued it, name its file in PORTICO_CA_FILE."
        )
    return exception.ConnectionError(
        f"no Portico server answers at {url} ({reason})\n"
        "Start one with `portico server start`, or check PORTICO_SERVER_URL and `portico config show`."
    )


def cut_off(url: str, during: str, reason: object) -> exception.ConnectionError:
    """The connection ended inside an answer."""
    return exception.ConnectionError(
        f"the connection to the Portico server at {url} was lost during {during} ({reason})\n"
        "Look at `portico server status`, then try again."
    )


def garbled(url: str, reason: object) -> exception.ConnectionError:
    """The answer is not one of the control API."""
    return exception.ConnectionError(
        f"what answers at {url} is not a Portico control API this client understands ({reason})\n"
        "Check the address, and that client and server have the same version."
    )


def error_for(status: int, body: bytes, url: str) -> exception.Error:
    """The exception for an answer of `status` (400 or more) with `body`."""
    try:
        problem = msgspec.json.decode(body, type=Problem)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        problem = Problem(title=f"HTTP status {status}", status=status)
    message = problem.detail or problem.title
    if status in (401, 403):
        return exception.AuthError(
            f"the server at {url} refused the token: {message}\n"
            "Set PORTICO_TOKEN (or `portico config set token …`) to one made by `portico token create`."
        )
    if status == 404:
        return exception.NotFoundError(message)
    if status == 409:
        return exception.ConflictError(message)
    if status == 413:
        return exception.RequestSizeError(message)
    if status < 500:
        return exception.InvalidError(message)
    return exception.InternalError(f"the server at {url} failed with status {status}: {message}")
