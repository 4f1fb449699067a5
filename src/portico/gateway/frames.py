"""WebSocket frame boundaries (RFC 6455 §5.2), found in a byte stream without holding it."""

from __future__ import annotations

import struct

CONTROL = 0x8  # opcodes from here on are control frames


def close_frame(code: int, mask: bytes = b"") -> bytes:
    """A close frame (RFC 6455 §5.5.1); `mask` is the four bytes that a client's frames are masked with."""
    payload = struct.pack("!H", code)
    if not mask:
        return bytes((0x88, len(payload))) + payload
    masked = bytes(byte ^ key for byte, key in zip(payload, mask, strict=False))
    return bytes((0x88, 0x80 | len(payload))) + mask + masked


class MessageTooBig(Exception):
    """A message is larger than the limit; `offset` bytes of the data at hand come before its frame."""

    def __init__(self, offset: int) -> None:
        super().__init__()
        self.offset = offset


class FrameTracker:
    """Follows the frames in one direction of a connection, reading only their headers.

    `at_boundary` says whether a frame of our own may be put in between. Raises `MessageTooBig` from `feed` once
    the frames of one message announce more than `limit` payload bytes.
    """

    __slots__ = ("_header", "_limit", "_message", "_remaining", "closed")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._header = bytearray()
        self._remaining = 0
        self._message = 0
        self.closed = False

    @property
    def at_boundary(self) -> bool:
        """Whether everything fed so far consists of whole frames."""
        return not self._remaining and not self._header

    def feed(self, data: bytes) -> None:
        """Follow `data`, the next bytes of the stream."""
        position, size = 0, len(data)
        while position < size:
            if self._remaining:
                step = min(self._remaining, size - position)
                self._remaining -= step
                position += step
                continue
            self._header.append(data[position])
            position += 1
            if len(self._header) >= 2 and len(self._header) == _header_size(self._header[1]):
                start = position - len(self._header)
                self._frame(self._header, start)
                self._header.clear()

    def _frame(self, header: bytearray, start: int) -> None:
        length = header[1] & 0x7F
        if length == 126:
            (length,) = struct.unpack_from("!H", header, 2)
        elif length == 127:
            (length,) = struct.unpack_from("!Q", header, 2)
        self._remaining = length
        opcode = header[0] & 0x0F
        if opcode >= CONTROL:
            self.closed = self.closed or opcode == 0x8
            return
        if opcode:  # the first frame of a message
            self._message = 0
        self._message += length
        if self._message > self._limit:
            if (
                start >= 0
            ):  # else the begin of the frame has left already, and no boundary comes before its end
                self._header.clear()
                self._remaining = 0
            raise MessageTooBig(max(start, 0))


def _header_size(second: int) -> int:
    length = second & 0x7F
    extended = 2 if length == 126 else 8 if length == 127 else 0
    return 2 + extended + (4 if second & 0x80 else 0)
