"""One write for all that a connection has to say in one turn of the event loop.

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
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
END_OF_HEAD = b"\r\n\r\n"
ENDED_LINE = b"\r\n" + ENDED_HEADER + b": 1" + END_OF_HEAD


class Turn:
    """What is to be done when the loop has run all that is ready now: once a turn, whatever asks for it."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._due: list[Callable[[], None]] = []

    def at_end(self, action: Callable[[], None]) -> None:
        """Call `action` at the end of this turn."""
        if not self._due:
            self._loop.call_soon(self._run)
        self._due.append(action)

    def _run(self) -> None:
        due, self._due = self._due, []
        for action in due:
            action()


class JoiningTransport:
    """A transport whose writes leave together at the end of the turn; in all else the one it wraps."""

    def __init__(self, transport: asyncio.Transport, turn: Turn) -> None:
        self._transport = transport
        self._turn = turn
        self._pieces: list[bytes] = []
        self._size = 0
        self._head: int | None = None
        self._head_is_next = False
        self._joins = True

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        """Send, or keep to send soon."""
        if not self._joins:
            self._transport.write(data)
            return
        if not self._pieces:
            self._turn.at_end(self.flush)
        if self._head_is_next and data != CONTINUE:
            self._head_is_next = False
            self._head = len(self._pieces)
        self._pieces.append(data)
        self._size += len(data)
        if self._size > MAX_JOINED:
            self.flush()

    def flush(self) -> None:
        """Send what was kept."""
        pieces, self._pieces = self._pieces, []
        self._size = 0
        self._head = None
        if pieces:
            self._transport.write(b"".join(pieces))

    def close(self) -> None:
        """Send what was kept, then close."""
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

    def tell_end(self) -> bool:
        """Say in the response's head that the handler has ended; False where the head has left already."""
        if self._head is None or self._transport.is_closing():
            return False
        head = self._pieces[self._head]
        if not head.endswith(END_OF_HEAD):
            return False
        self._pieces[self._head] = head[: -len(END_OF_HEAD)] + ENDED_LINE
        self._head = None
        return True
