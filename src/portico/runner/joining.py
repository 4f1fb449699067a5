"""One write for all that a handler says before it waits.

uvicorn writes a response's head and body apart, and the news that the handler has ended would be a third write,
on the control socket. Each costs a system call here and a wake-up in the gateway. Joined, and with the news in
the head where the handler was that quick, a small response is one write.
"""

from __future__ import annotations

import asyncio
import types
from collections.abc import Awaitable, Callable, Generator
from typing import Any

from portico.wire.container import ENDED_HEADER

MAX_JOINED = 64 * 1024  # bytes; more than this is written at once, so that backpressure is felt
END_OF_CHUNKS = b"0\r\n\r\n"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
END_OF_HEAD = b"\r\n\r\n"
ENDED_LINE = b"%b\r\n" + ENDED_HEADER + b": %d" + END_OF_HEAD


class JoiningTransport:
    """A transport that can hold its writes back to send them as one; in all else the one it wraps."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._write = transport.write
        self._pieces: list[bytes] = []
        self._size = 0
        self._head: int | None = None
        self._head_is_next = False
        self._holding = False
        self.trailers = b""
        """Lines that go between the last chunk and the end, in the write that says that end."""
        # Asked for each request: straight to the transport rather than through `__getattr__`.
        self.is_closing: Callable[[], bool] = transport.is_closing

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        """Send, or hold."""
        if self.trailers and data == END_OF_CHUNKS:
            data = b"0\r\n%b\r\n" % self.trailers
        is_head = self._head_is_next and data != CONTINUE
        if is_head:
            self._head_is_next = False
        if not self._holding:
            self._write(data)
            return
        if is_head:
            self._head = len(self._pieces)
        self._pieces.append(data)
        self._size += len(data)
        if self._size > MAX_JOINED:
            self._flush()

    def hold(self) -> None:
        """Hold writes from here on."""
        self._holding = True

    def release(self) -> None:
        """Send what was held, and hold no more."""
        self._holding = False
        if self._pieces:
            self._flush()

    def _flush(self) -> None:
        pieces, self._pieces = self._pieces, []
        self._size = 0
        self._head = None
        self._write(b"".join(pieces))

    def close(self) -> None:
        """Send what was held, then close."""
        if self._pieces:
            self._flush()
        self._transport.close()

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Another protocol speaks from here on, and its writes are its own business."""
        self.release()
        self._transport.set_protocol(protocol)

    def expect_head(self) -> None:
        """The next write is the head of a response, unless it is an interim one."""
        self._head_is_next = True

    def tell_end(self, number: int) -> bool:
        """Say in the response's head that input `number` has ended; False where the head has left already."""
        if self._head is None or self.is_closing():
            return False
        head = self._pieces[self._head]
        if not head.endswith(END_OF_HEAD):
            return False
        self._pieces[self._head] = ENDED_LINE % (head[: -len(END_OF_HEAD)], number)
        self._head = None
        return True


@types.coroutine
def joined(handler: Awaitable[None], transport: JoiningTransport) -> Generator[Any, Any, None]:
    """Await `handler`, holding its writes from each resumption to its next wait.

    When it returns, or raises, `transport` still holds: its last words are for the caller to release. Other
    tasks of the handler write while it waits, and so write at once.
    """
    steps = handler.__await__()
    resume: Callable[[Any], Any] = steps.send
    value: Any = None
    while True:
        transport.hold()
        try:
            waits_for = resume(value)
        except StopIteration:
            return
        transport.release()
        try:
            value = yield waits_for
            resume = steps.send
        except BaseException as error:  # also GeneratorExit: the handler is closed by it
            value, resume = error, steps.throw
