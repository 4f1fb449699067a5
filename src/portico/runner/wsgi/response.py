"""``start_response`` and the framing of what the app gives (PEP 3333, RFC 9112 §6)."""

from __future__ import annotations

import socket
import sys
import threading
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any

from portico.runner.wsgi.connection import ClientGone, Connection, Request
from portico.runner.wsgi.files import Span
from portico.runner.wsgi.head import ResponseHead
from portico.runner.wsgi.takeover import Takeover
from portico.wire.container import ENDED_HEADER

MAX_JOINED = 64 * 1024  # bytes written together with others; more is not copied once again

ExcInfo = tuple[type[BaseException], BaseException, TracebackType | None]


class Response:
    """The response of one request, written by its thread.

    What the app gives leaves at once, except what makes the response whole: that is held until the app's iterable
    is exhausted and closed, so that the response can carry the news that the input has ended. An app that takes
    long over that does not delay the response: the loop writes what is held (`release`).
    """

    def __init__(
        self,
        connection: Connection,
        request: Request,
        takeover: Takeover | None,
        date: Callable[[], bytes],
    ) -> None:
        self._connection = connection
        self._request = request
        self._takeover = takeover
        self._date = date
        self._head: ResponseHead | None = None
        self._chunked = False
        self._missing: int | None = None  # bytes until the declared length
        self._lock = threading.Lock()
        self._held: tuple[bytes, bytes] | None = None
        self._rest = b""  # of what the loop could not write
        self._seen = False
        self._whole = False
        self._too_long = False
        self.begun = False
        """Whether the head is beyond change: written, or held."""

    @property
    def silent(self) -> bool:
        """Whether nothing is to be written, for the app speaks another protocol on the connection."""
        return self._takeover is not None and self._takeover.used

    @property
    def whole(self) -> bool:
        """Whether nothing is missing; else the connection has to be cut, so that the client notices."""
        return self._whole or self._missing == 0

    # -- the app's side

    def start(
        self, status: str, headers: Sequence[tuple[str, str]], exc_info: ExcInfo | None = None
    ) -> Callable[[bytes], None]:
        """``start_response``. Raises the exception in `exc_info` where the head has left."""
        try:
            if exc_info is not None and self.begun:
                raise exc_info[1].with_traceback(exc_info[2])
            if exc_info is None and self._head is not None:
                raise AssertionError("start_response was called a second time, without exc_info")
        finally:
            exc_info = None  # it refers to this frame
        self._head = ResponseHead(status, headers)
        return self.write

    def write(self, data: bytes) -> None:
        """The ``write`` callable: `data` is on its way when it returns."""
        if self._give(data):
            self.release(at_once=True)
            self._write_rest()

    # -- the server's side

    def send(self, block: bytes) -> bool:
        """One block of the app's iterable; False where a further one would not be sent."""
        return self._give(block)

    def send_all(self, blocks: Sequence[bytes]) -> None:
        """All blocks of an app that gives them at once: the length is known, and they go together."""
        for block in blocks:
            check_block(block)
        total = sum(map(len, blocks))
        head = self._head
        if head is not None and head.length is None and not self._bodiless(head):
            head.length = total
        for block in [b"".join(blocks)] if total <= MAX_JOINED else blocks:
            self._give(block)

    def send_file(self, span: Span) -> bool:
        """Have the kernel send a file; False where it is to be sent like any other body."""
        head = self._head
        if head is None or self.begun or self.silent or self._bodiless(head):
            return False
        count = span.length if head.length is None else min(span.length, head.length)
        if count <= MAX_JOINED:
            return False
        if head.length is None:
            head.length = count
        self._connection.send(self._begin(head) + b"\r\n")
        try:
            sent = self._connection.sock.sendfile(span.file, span.offset, count)
        except ConnectionError as error:
            raise ClientGone("the client is gone") from error
        assert self._missing is not None
        self._missing -= sent
        return True

    def end(self) -> None:
        """The app has no more to give."""
        if self.silent:
            return
        head = self._head
        if head is None:
            raise AssertionError("the app returned without calling start_response")
        bodiless = self._bodiless(head)
        if not self.begun:
            if head.length is None and not bodiless:
                head.length = 0
            self._hold(self._begin(head), b"")
        elif self._chunked:
            self._connection.send(b"0\r\n\r\n")
        if self._missing and not bodiless:
            complain(f"the response is {self._missing} bytes shorter than its Content-Length")
        else:
            self._whole = True

    def fail(self) -> None:
        """The app raised: a 500 where the head can still be one; else the response stays as it is."""
        if self.begun or self.silent:
            return
        self._head = None
        self.start("500 Internal Server Error", [("content-type", "text/plain; charset=utf-8")])
        self.send_all([b"Internal Server Error"])
        self.end()

    def flush(self, ended: int | None) -> bool:
        """Write what is held; True where that said that input `ended` has ended."""
        self._write_rest()
        held = self._take()
        if held is None:
            return False
        head, body = held
        told = b"" if ended is None else b"%b: %d\r\n" % (ENDED_HEADER, ended)
        self._connection.send(b"%b%b\r\n%b" % (head, told, body))
        return ended is not None

    def release(self, at_once: bool = False) -> None:
        """Write what is held without waiting, on any thread: the second look finds that the app takes long."""
        with self._lock:
            if self._held is None:
                return
            if not self._seen and not at_once:
                self._seen = True
                return
            head, body = self._held
            self._held = None
            data = b"%b\r\n%b" % (head, body)
            try:
                sent = self._connection.sock.send(data, socket.MSG_DONTWAIT)
            except BlockingIOError:
                sent = 0
            except OSError:
                return  # the thread finds out
            self._rest = data[sent:]

    # -- framing

    def _give(self, block: bytes) -> bool:
        check_block(block)
        if not block:
            return True
        if self.silent:
            return False
        head = self._head
        if head is None:
            raise AssertionError("start_response has to be called before the body begins")
        first = b"" if self.begun else self._begin(head)
        if self._bodiless(head):
            self._whole = True
            if first:
                self._hold(first, b"")
            return False
        if self._missing is not None:
            if len(block) > self._missing:
                self._cut_off()
                block = block[: self._missing]
            self._missing -= len(block)
            if not self._missing and first and len(block) <= MAX_JOINED:
                self._hold(first, block)
                return True
        self._transmit(first, block)
        return True

    def _cut_off(self) -> None:
        if not self._too_long:
            self._too_long = True
            complain("the response is longer than its Content-Length: the rest is dropped")

    def _transmit(self, first: bytes, block: bytes) -> None:
        if first:
            first += b"\r\n"
        last = b""
        if self._chunked:
            first += b"%x\r\n" % len(block)
            last = b"\r\n"
        if len(block) <= MAX_JOINED:
            data = b"%b%b%b" % (first, block, last)
            if data:
                self._connection.send(data)
            return
        for piece in (first, block, last):
            if piece:
                self._connection.send(piece)

    def _begin(self, head: ResponseHead) -> bytes:
        """The head without the empty line that ends it."""
        self.begun = True
        self._missing = head.length
        request = self._request
        if request.expects and not request.complete:
            request.keep_alive = False  # whether the body still comes is the client's choice
        framed = head.length is not None or self._bodiless(head)
        self._chunked = not framed and not request.http_1_0
        if not framed and request.http_1_0:
            request.keep_alive = False  # the end of the connection is that of the body
        return head.encode(self._date(), chunked=self._chunked, close=not request.keep_alive)

    def _bodiless(self, head: ResponseHead) -> bool:
        return head.bodiless or self._request.method == b"HEAD"

    def _hold(self, head: bytes, body: bytes) -> None:
        with self._lock:
            self._held = (head, body)
            self._seen = False

    def _take(self) -> tuple[bytes, bytes] | None:
        with self._lock:
            held, self._held = self._held, None
            return held

    def _write_rest(self) -> None:
        with self._lock:
            rest, self._rest = self._rest, b""
        if rest:
            self._connection.send(rest)


def check_block(block: Any) -> None:
    """Raise TypeError for what is no part of a body."""
    if not isinstance(block, bytes):
        raise TypeError(
            f"a WSGI body is made of bytes, and the app gave {type(block).__name__}: "
            "return a list such as [body], with text encoded"
        )


def complain(message: str) -> None:
    """Tell the app's author, in the container's log."""
    print(f"portico: {message}", file=sys.stderr, flush=True)
