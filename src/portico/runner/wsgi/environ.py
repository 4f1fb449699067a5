"""A request as WSGI apps see it (PEP 3333, environ Variables)."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from typing import Any
from urllib.parse import unquote_to_bytes

from portico.runner.wsgi.connection import BadRequest, Connection, Request
from portico.runner.wsgi.files import FileWrapper

Environ = dict[str, Any]


def lasting_environ(slots: int) -> Environ:
    """What is the same for every request of a container with `slots` threads."""
    return {
        "SCRIPT_NAME": "",
        "SERVER_SOFTWARE": "portico",
        "wsgi.version": (1, 0),
        "wsgi.multithread": slots > 1,
        "wsgi.multiprocess": True,  # other containers run the same app
        "wsgi.run_once": False,
        "wsgi.file_wrapper": FileWrapper,
        "wsgi.input_terminated": True,
    }


def environ_of(request: Request, lasting: Environ, body: io.BufferedIOBase) -> Environ:
    """The environ of one request; a dictionary of its own, which the app may change."""
    path, _, query = request.target.partition(b"?")
    target = request.target.decode("latin-1")
    environ = lasting.copy()
    environ["REQUEST_METHOD"] = request.method.decode("latin-1")
    environ["PATH_INFO"] = unquote_to_bytes(path).decode("latin-1")
    environ["QUERY_STRING"] = query.decode("latin-1")
    environ["RAW_URI"] = environ["REQUEST_URI"] = target
    environ["SERVER_PROTOCOL"] = "HTTP/1.0" if request.http_1_0 else "HTTP/1.1"
    environ["REMOTE_ADDR"] = request.client
    environ["wsgi.url_scheme"] = request.scheme
    environ["wsgi.input"] = body
    environ["wsgi.errors"] = sys.stderr
    for raw_name, raw_value in request.headers:
        if b"_" in raw_name:
            continue  # it would pass for the header with a hyphen, which a proxy may have checked
        name = raw_name.decode("latin-1").upper().replace("-", "_")
        key = name if name in ("CONTENT_TYPE", "CONTENT_LENGTH") else "HTTP_" + name
        value = raw_value.decode("latin-1")
        if key in environ:
            separator = "; " if key == "HTTP_COOKIE" else ","
            value = f"{environ[key]}{separator}{value}"
        environ[key] = value
    host, port = split_host(environ.get("HTTP_HOST", ""))
    environ["SERVER_NAME"] = host or "localhost"
    environ["SERVER_PORT"] = port or ("443" if request.scheme == "https" else "80")
    return environ


def split_host(host: str) -> tuple[str, str]:
    """Name and port of a Host header, each empty where it has none; an IPv6 address keeps its brackets."""
    name, colon, port = host.rpartition(":")
    if not colon or port.endswith("]"):
        return host, ""
    return name, port


class Body(io.RawIOBase):
    """The rest of a request's body, read from the connection when it is asked for and no sooner."""

    def __init__(
        self, connection: Connection, request: Request, before: Callable[[], None]
    ) -> None:
        super().__init__()
        self._connection = connection
        self._request = request
        self._before = before
        self._over = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        """As `io.RawIOBase.readinto`. Raises `ClientGone`."""
        pieces = self._request.pieces
        while not pieces:
            if self._over:
                raise ValueError("the request that this body belongs to is over")
            if self._request.complete:
                return 0
            self._before()
            try:
                self._connection.read_on()
            except BadRequest as error:
                raise OSError(f"the request's body is malformed: {error}") from error
        view = memoryview(buffer).cast("B")
        piece = pieces.popleft()
        count = min(len(view), len(piece))
        view[:count] = piece[:count]
        if count < len(piece):
            pieces.appendleft(piece[count:])
        return count

    def end(self) -> None:
        """The exchange is over, and the connection the next one's: nothing is read from it any more."""
        self._over = True
