"""One request and its response, on a thread of its own."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable
from typing import Any

from portico.runner.inputs import Input
from portico.runner.tracebacks import report
from portico.runner.wsgi.connection import RECEIVE, ClientGone, Connection, Request
from portico.runner.wsgi.environ import Body, Environ, environ_of
from portico.runner.wsgi.files import FileWrapper, span_of
from portico.runner.wsgi.response import Response
from portico.runner.wsgi.takeover import SOCKET_KEY, Takeover

App = Callable[[Environ, Callable[..., Callable[[bytes], None]]], Iterable[bytes]]

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class Exchange:
    """Made on the loop, `run` by a thread; `done` is called there at the very end, whatever happens."""

    def __init__(
        self,
        app: App,
        connection: Connection,
        request: Request,
        current: Input | None,
        lasting: Environ,
        date: Callable[[], bytes],
        done: Callable[[Exchange], None],
    ) -> None:
        self._app = app
        self._lasting = lasting
        self._done = done
        self.connection = connection
        self.request = request
        self.current = current
        self.takeover = Takeover(connection.sock) if request.upgrade else None
        self.response = Response(connection, request, self.takeover, date)
        self.told = False
        """Whether the response says that the input has ended."""
        self.reusable = False
        """Whether the connection can carry another exchange."""

    def run(self) -> None:
        """Answer the request."""
        try:
            self.connection.sock.setblocking(True)
            if self.current is None or not self.current.cancelled:
                self._answer()
        except ClientGone:
            pass  # there is nobody to tell
        except BaseException as error:
            report(error)
        finally:
            self._done(self)

    def _answer(self) -> None:
        response, request = self.response, self.request
        raw = None if request.complete else Body(self.connection, request, self._before_read)
        body = (
            io.BytesIO(b"".join(request.pieces)) if raw is None else io.BufferedReader(raw, RECEIVE)
        )
        environ = environ_of(request, self._lasting, body)
        if self.takeover is not None:
            environ[SOCKET_KEY] = self.takeover.socket
        try:
            self._call(environ)
        except ClientGone:
            raise
        except BaseException as error:
            # Flask-Sock raises StopIteration, as gunicorn wants it, when the conversation is over.
            if not (response.silent and isinstance(error, StopIteration)):
                report(error)
            response.fail()
        finally:
            if raw is not None:
                raw.end()
            if self.takeover is not None:
                self.takeover.finish()
        if response.silent:
            return
        # The client of a cancelled input is gone, and with it whoever would read the news.
        current = self.current
        number = None if current is None or current.cancelled else current.number
        self.told = response.flush(number)
        reusable = response.whole and request.keep_alive and self.connection.drain()
        self.reusable = reusable and request.keep_alive  # which garbage behind the body ends

    def _call(self, environ: Environ) -> None:
        result: Any = self._app(environ, self.response.start)
        try:
            self._send(result)
            self.response.end()
        finally:
            close = getattr(result, "close", None)
            if close is not None:
                close()

    def _send(self, result: Any) -> None:
        response = self.response
        if type(result) is list or type(result) is tuple:
            response.send_all(result)
            return
        if isinstance(result, FileWrapper):
            span = span_of(result.filelike)
            if span is not None and response.send_file(span):
                return
        for block in result:
            if not response.send(block):
                return

    def _before_read(self) -> None:
        """The app waits for the body: so the client has to send it (RFC 9110 §10.1.1)."""
        if self.request.expects and not self.response.begun:
            self.request.expects = False
            self.connection.send(CONTINUE)
