"""One WSGI app on one unix socket: accepts connections, reads heads, and hands requests to threads."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import socket
import time
from email.utils import formatdate

from portico.runner.inputs import Inputs
from portico.runner.tracebacks import report
from portico.runner.websockets import WebSockets
from portico.runner.wsgi.connection import BadRequest, ClientGone, Connection, Request
from portico.runner.wsgi.environ import lasting_environ
from portico.runner.wsgi.exchange import App, Exchange
from portico.runner.wsgi.workers import Workers
from portico.wire.container import Address, StartPhase

BACKLOG = 2048
ACCEPT_PAUSE = 0.1  # seconds, when there are no descriptors left
LOOK_INTERVAL = 0.01  # seconds between looks for whole responses whose app does not come to its end

GONE = b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
BAD_REQUEST = b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"


class WsgiEndpoint:
    """Everything here runs on the loop, except `_over`."""

    startup_phase: StartPhase = "lifespan"

    def __init__(self, app: App, inputs: Inputs, websockets: WebSockets, slots: int) -> None:
        self._app = app
        self._inputs = inputs
        self._websockets = websockets
        self._lasting = lasting_environ(slots)
        self._workers = Workers(slots)
        self._context = contextvars.copy_context()
        self._idle: set[Connection] = set()
        self._running: set[Exchange] = set()
        self._looking: asyncio.TimerHandle | None = None
        self._listener: socket.socket | None = None
        self._draining = False
        self._date = (0, b"")
        self._loop: asyncio.AbstractEventLoop

    # -- Endpoint

    async def startup(self) -> None:
        """Nothing: WSGI has no lifespan."""

    async def listen(self, path: str) -> Address:
        """Take requests at the unix socket `path`."""
        self._loop = asyncio.get_running_loop()
        self._listener = listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.setblocking(False)
        listener.bind(path)
        listener.listen(BACKLOG)
        self._loop.add_reader(listener, self._accept)
        return Address(path=path)

    def refuse_new(self) -> None:
        """Close the listener and idle connections; running exchanges end with ``Connection: close``."""
        self._draining = True
        if self._listener is not None:
            self._loop.remove_reader(self._listener)
            self._listener.close()
            self._listener = None
        for connection in tuple(self._idle):
            self._hang_up(connection)
        for exchange in self._running:
            exchange.request.keep_alive = False

    async def shutdown(self) -> None:
        """Let the threads go."""
        self._workers.stop()

    # -- connections

    def _accept(self) -> None:
        listener = self._listener
        while listener is not None:
            try:
                sock, _ = listener.accept()
            except BlockingIOError:
                return
            except OSError:
                self._loop.remove_reader(listener)
                self._loop.call_later(ACCEPT_PAUSE, self._accept_again)
                return
            self._wait_for_request(Connection(sock))

    def _accept_again(self) -> None:
        if self._listener is not None:
            self._loop.add_reader(self._listener, self._accept)

    def _wait_for_request(self, connection: Connection) -> None:
        self._idle.add(connection)
        self._loop.add_reader(connection.sock, self._readable, connection)

    def _stop_waiting(self, connection: Connection) -> None:
        self._loop.remove_reader(connection.sock)
        self._idle.discard(connection)

    def _hang_up(self, connection: Connection) -> None:
        self._stop_waiting(connection)
        connection.close()

    def _readable(self, connection: Connection) -> None:
        try:
            request = connection.receive()
        except BlockingIOError:
            return
        except BadRequest:
            self._refuse(connection, BAD_REQUEST)
            return
        except (ClientGone, OSError):
            self._hang_up(connection)
            return
        if request is not None:
            self._begin(connection, request)

    def _refuse(self, connection: Connection, answer: bytes) -> None:
        """Answer without the app, and report the end of an input that does not begin."""
        request = connection.request
        number = None if request is None else request.number
        if number is not None and number not in self._inputs.running:
            self._inputs.report(number)
        connection.answer(answer)
        self._hang_up(connection)

    # -- exchanges

    def _begin(self, connection: Connection, request: Request) -> None:
        context = self._context.copy()
        current = None
        if request.number is not None:
            current = context.run(self._inputs.begin, request.number)
            if current is None:
                connection.answer(GONE)
                self._hang_up(connection)
                return
        self._stop_waiting(connection)
        if self._draining:
            request.keep_alive = False
        try:
            exchange = Exchange(
                self._app, connection, request, current, self._lasting, self._now, self._over
            )
            self._workers.submit(functools.partial(context.run, exchange.run))
        except (OSError, RuntimeError) as error:  # no descriptor, or no thread, is left
            report(error)
            connection.answer(GONE)
            connection.close()
            if current is not None:
                self._inputs.end(current.number)
            return
        self._running.add(exchange)
        if exchange.takeover is not None:
            self._websockets.add(exchange.takeover)
        elif self._looking is None:
            self._looking = self._loop.call_later(LOOK_INTERVAL, self._look)

    def _over(self, exchange: Exchange) -> None:
        """On the exchange's thread: the loop has to know."""
        self._loop.call_soon_threadsafe(self._end, exchange)

    def _end(self, exchange: Exchange) -> None:
        self._workers.done()
        self._running.discard(exchange)
        if exchange.takeover is not None:
            self._websockets.discard(exchange.takeover)
        connection = exchange.connection
        if exchange.reusable and not self._draining:
            connection.reuse()
            if connection.ready is None:
                self._wait_for_request(connection)
            else:
                self._begin(connection, connection.ready)
        else:
            connection.close()
        if exchange.current is not None:
            self._inputs.end(exchange.current.number, exchange.told)

    def _look(self) -> None:
        """Write responses that wait for nothing but their app's coming to an end."""
        self._looking = None
        ordinary = [exchange for exchange in self._running if exchange.takeover is None]
        for exchange in ordinary:
            exchange.response.release()
        if ordinary:
            self._looking = self._loop.call_later(LOOK_INTERVAL, self._look)

    def _now(self) -> bytes:
        """The Date header's value (RFC 9110 §6.6.1)."""
        now = int(time.time())
        if self._date[0] != now:
            self._date = (now, formatdate(now, usegmt=True).encode())
        return self._date[1]
