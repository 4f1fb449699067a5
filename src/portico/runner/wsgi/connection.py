"""One connection from the gateway, and the request that is being read from it."""

from __future__ import annotations

import contextlib
import socket
from collections import deque

import httptools

from portico.wire.container import INPUT_HEADER

RECEIVE = 64 * 1024  # bytes read at once; also what a request's body takes in memory
DRAIN_BYTES = (
    4 << 20
)  # of a body the app did not want; the gateway has no more than that on its way
DRAIN_PATIENCE = 1.0  # seconds


class ClientGone(ConnectionError):
    """The gateway closed the connection, for its client is gone. Frameworks know the OSError it is."""


class BadRequest(ValueError):
    """What came is no HTTP request."""


class Request:
    """A request's head, and as much of its body as has been read and not been asked for."""

    __slots__ = (
        "client",
        "complete",
        "expects",
        "head_complete",
        "headers",
        "http_1_0",
        "keep_alive",
        "method",
        "number",
        "pieces",
        "scheme",
        "target",
        "upgrade",
    )

    def __init__(self) -> None:
        self.method = b""
        self.target = b""
        self.headers: list[tuple[bytes, bytes]] = []
        self.http_1_0 = False
        self.keep_alive = False
        self.upgrade = False
        self.number: int | None = None
        """The input's number, where the gateway says one."""
        self.client = "127.0.0.1"
        self.scheme = "http"
        self.head_complete = False
        self.pieces: deque[bytes] = deque()
        self.expects = False
        """Whether the client waits for a 100 before it sends the body (RFC 9110 §10.1.1)."""
        self.complete = False
        """Whether the whole body has been read from the connection."""

    def add_header(self, name: bytes, value: bytes) -> None:
        """Take one header; the first may be the gateway's word that this is an input."""
        if not self.headers and name == INPUT_HEADER:
            self.number = int(value)
        else:
            self.headers.append((name, value))

    def end_head(self) -> None:
        """The head is complete: what the gateway says of the client comes first, what a client sends is behind it."""
        self.head_complete = True
        if self.number is not None:
            (_, client), (_, scheme) = self.headers[:2]
            self.client = client.decode("latin-1")
            self.scheme = scheme.decode("latin-1")
        self.expects = any(
            name == b"expect" and value.lower() == b"100-continue" for name, value in self.headers
        )


class Connection:
    """A connected socket and its parser. The loop calls `receive`; the thread of a request the rest."""

    __slots__ = ("_parser", "_requests", "sock")

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self._parser = httptools.HttpRequestParser(self)
        # The one whose turn it is comes first. Others are there when the gateway sent the next request on the
        # heels of a body that nobody had read.
        self._requests: deque[Request] = deque()

    @property
    def request(self) -> Request | None:
        """The request whose turn it is, as far as it has come."""
        return self._requests[0] if self._requests else None

    @property
    def ready(self) -> Request | None:
        """The same once its head is complete."""
        request = self.request
        return request if request is not None and request.head_complete else None

    # -- on the loop

    def receive(self) -> Request | None:
        """Read what is there; the request once its head is complete.

        Raises BlockingIOError where nothing is there, `ClientGone` at the end, `BadRequest`.
        """
        self._feed(self.sock.recv(RECEIVE, socket.MSG_DONTWAIT))
        return self.ready

    def answer(self, data: bytes) -> None:
        """Write something short without waiting; whoever does not take it goes without."""
        with contextlib.suppress(OSError):
            self.sock.send(data, socket.MSG_DONTWAIT)

    def reuse(self) -> None:
        """The exchange is over, and its request was read to the end: it is the next one's turn."""
        self._requests.popleft()

    def close(self) -> None:
        """Close, also for whoever holds a duplicate of the socket."""
        with contextlib.suppress(OSError):
            self.sock.shutdown(socket.SHUT_RDWR)
        self.sock.close()

    # -- on the request's thread

    def read_on(self) -> None:
        """Wait for more of the request's body. Raises `ClientGone`, `BadRequest`."""
        try:
            data = self.sock.recv(RECEIVE)
        except OSError as error:
            raise ClientGone("the request's body was cut off") from error
        self._feed(data)

    def drain(self) -> bool:
        """Read a body that nobody asked for to its end; False where it is too long for that.

        The gateway may count on the connection once it has written all of a request, so what is on its way here
        has to be taken. Where it has not, it closes the connection now that the response is over.
        """
        request = self.request
        assert request is not None
        self.sock.settimeout(DRAIN_PATIENCE)
        try:
            for _ in range(DRAIN_BYTES // RECEIVE):
                if request.complete:
                    return True
                request.pieces.clear()
                self.read_on()
        except (ClientGone, BadRequest):
            return False
        return request.complete

    def send(self, data: bytes) -> None:
        """Write all of `data`, waiting for room. Raises `ClientGone`."""
        try:
            self.sock.sendall(data)
        except OSError as error:
            raise ClientGone("the client is gone") from error

    # -- parser

    def _feed(self, data: bytes) -> None:
        if not data:
            raise ClientGone("the client is gone")
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._requests[-1].complete = True
            if upgrade.args[0] < len(data):
                raise BadRequest("bytes behind an upgrade that was not accepted yet") from None
        except httptools.HttpParserError as error:
            behind = len(self._requests) > 1 and not self._requests[-1].complete
            last = self._requests[-2 if behind else -1] if self._requests else None
            if last is None or not last.complete:
                raise BadRequest(str(error)) from None
            last.keep_alive = False  # what is behind it has no answer

    def on_message_begin(self) -> None:
        self._requests.append(Request())

    def on_url(self, url: bytes) -> None:
        self._requests[-1].target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        request = self._requests[-1]
        if not request.head_complete:  # those of the trailers are no headers (RFC 9110 §6.5)
            request.add_header(name.lower(), value)

    def on_headers_complete(self) -> None:
        request, parser = self._requests[-1], self._parser
        request.end_head()
        request.method = parser.get_method()
        request.http_1_0 = parser.get_http_version() == "1.0"
        request.upgrade = parser.should_upgrade()
        # After an offer to upgrade the parser leaves HTTP.
        request.keep_alive = (
            parser.should_keep_alive() and not request.upgrade and not request.http_1_0
        )

    def on_body(self, data: bytes) -> None:
        request = self._requests[-1]
        request.expects = False
        request.pieces.append(data)

    def on_message_complete(self) -> None:
        self._requests[-1].complete = True
