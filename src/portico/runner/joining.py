"""One write for all that a handler says in one turn of the loop.

uvicorn writes a response's head and body apart, and the news that the handler has ended would be a third write,
on the control socket. Each costs a system call here and a wake-up in the gateway. Joined, and with the news in
the head where the handler was that quick, a small response is one write.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from portico.wire.container import ENDED_HEADER

MAX_JOINED = 64 * 1024  # bytes; more than this is written at once, so that backpressure is felt
END_OF_CHUNKS = b"0\r\n\r\n"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
END_OF_HEAD = b"\r\n\r\n"
ENDED_LINE = b"%b\r\n" + ENDED_HEADER + b": %d" + END_OF_HEAD


class JoiningTransport:
    """A transport whose writes leave together: when a handler ends, or with the loop's next turn.

    In all else it is the one it wraps.
    """

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._call_soon = loop.call_soon
        self._pieces: list[bytes] = []
        self._size = 0
        self._head: int | None = None
        self._head_is_next = False
        self._due = False  # whether the next turn looks for pieces
        self._joins = True
        self.trailers = b""
        """Lines that go between the last chunk and the end, in the write that says that end."""
        # Asked for each request: straight to the transport rather than through `__getattr__`.
        self.is_closing: Callable[[], bool] = transport.is_closing

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        """Send, soon."""
        if not self._joins:
            self._transport.write(data)
            return
        if self._head_is_next:
            if data != CONTINUE:
                self._head_is_next = False
                self._head = len(self._pieces)
        elif self.trailers and data == END_OF_CHUNKS:
            data = b"0\r\n%b\r\n" % self.trailers
        self._pieces.append(data)
        self._size += len(data)
        if self._size > MAX_JOINED:
            self.flush()
        elif not self._due:
            self._due = True
            self._call_soon(self._next_turn)

    def _next_turn(self) -> None:
        self._due = False
        if self._pieces:
            self.flush()

    def flush(self) -> None:
        """Send what there is, now."""
        if not self._pieces:
            return
        pieces, self._pieces = self._pieces, []
        self._size = 0
        self._head = None
        self._transport.write(b"".join(pieces))

    def close(self) -> None:
        """Send what there is, then close."""
        self.flush()
        self._transport.close()

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Another protocol speaks from here on, and its writes are its own business."""
        self.flush()
        self._joins = False
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
