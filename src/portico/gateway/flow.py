"""Flow control of one socket: pausing what is read from it, and noticing that it does not take what is written."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import struct
import termios
from typing import cast

HIGH_WATER = 64 * 1024  # bytes of unsent data at which the other side is paused


class FlowControlledProtocol:
    """A stream protocol whose reading can be paused twice and whose writes never await.

    An `asyncio.Protocol` in all but its bases: a class that is compiled cannot have one that is not.
    """

    __slots__ = ("_paused", "transport", "writable")

    transport: asyncio.Transport

    def __init__(self) -> None:
        self._paused = False
        self.writable = True

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.transport.set_write_buffer_limits(high=HIGH_WATER)

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone; `exc` is None where it ended in order."""
        raise NotImplementedError

    def data_received(self, data: bytes) -> None:
        """Bytes came."""
        raise NotImplementedError

    def eof_received(self) -> bool | None:
        """The other side will send no more; True keeps the connection open for writing."""
        return None

    def pause_writing(self) -> None:
        self.writable = False
        self.writable_changed(False)

    def resume_writing(self) -> None:
        self.writable = True
        self.writable_changed(True)

    def writable_changed(self, writable: bool) -> None:
        """The backlog of unsent bytes grew over, or fell under, `HIGH_WATER`."""
        raise NotImplementedError

    def pause_reading(self) -> None:
        """Stop reading, if it is not stopped already."""
        if not self._paused and not self.transport.is_closing():
            self._paused = True
            self.transport.pause_reading()

    def resume_reading(self) -> None:
        """Read on, if it was stopped."""
        if self._paused and not self.transport.is_closing():
            self._paused = False
            self.transport.resume_reading()

    @property
    def paused(self) -> bool:
        """Whether reading is stopped."""
        return self._paused and not self.transport.is_closing()

    def fileno(self) -> int:
        """The socket's descriptor, -1 once it is closed."""
        connection = self.transport.get_extra_info("socket")
        return -1 if connection is None else int(connection.fileno())

    def unsent(self, *, in_flight: bool = False) -> int:
        """Bytes that still have to be sent; more than 0, where that cannot be told exactly.

        With those `in_flight` it is a measure of whether a slow reader gets on: what the system takes off our
        hands, it takes in large steps.
        """
        size = self.transport.get_write_buffer_size()
        if in_flight or not self.transport.can_write_eof():
            # TLS: what is encrypted waits where nobody can count it, but only while the system's buffer is full.
            size += _in_flight(self.fileno())
        return size

    @property
    def closing(self) -> bool:
        """Whether the connection is closed or about to be."""
        return self.transport.is_closing()

    def write(self, data: bytes) -> None:
        """Send, or buffer to send."""
        if not self.transport.is_closing():
            self.transport.write(data)

    def close(self) -> None:
        """Send what is buffered, then close."""
        self.transport.close()

    def abort(self) -> None:
        """Close, and drop what is buffered."""
        self.transport.abort()


def _in_flight(descriptor: int) -> int:
    """Bytes of a socket that its peer has not acknowledged; 0 where the system does not tell."""
    with contextlib.suppress(OSError, ValueError):
        answer = fcntl.ioctl(descriptor, termios.TIOCOUTQ, bytes(4))
        return int(struct.unpack("i", answer)[0])
    return 0
