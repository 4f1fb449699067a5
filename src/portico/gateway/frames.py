"""WebSocket frame boundaries (RFC 6455 §5.2), found in a byte stream without holding it."""

from __future__ import annotations

import struct

CLOSE = 0x8
CONTROL = 0x8  # opcodes from here on are control frames
FIN = 0x80
MASKED = 0x80
MAX_CONTROL = 125  # bytes of payload in a control frame (RFC 6455 §5.5)


def close_frame(code: int, reason: str = "", mask: bytes = b"") -> bytes:
    """A close frame (RFC 6455 §5.5.1); `mask` is the four bytes that a client's frames are masked with.

    What does not fit of `reason` is cut.
    """
    text = reason.encode()[: MAX_CONTROL - 2].decode(errors="ignore")
    payload = struct.pack("!H", code) + text.encode()
    if not mask:
        return bytes((FIN | CLOSE, len(payload))) + payload
    masked = bytes(byte ^ mask[index % 4] for index, byte in enumerate(payload))
    return bytes((FIN | CLOSE, MASKED | len(payload))) + mask + masked


class MessageTooBig(Exception):
    """A message is larger than the limit; `before` is what came before its frame, to be passed on."""

    def __init__(self, before: bytes) -> None:
        super().__init__()
        self.before = before


class FrameTracker:
    """Follows the frames in one direction of a connection, reading only their headers.

    A header that has not come whole is held back, at most 13 bytes: so what is passed on ends within a payload
    or between frames, and where it is `at_boundary` a frame of our own may be put in. Counts the payload bytes
    that the frames of one message announce. Whether the frames make sense is for the endpoints to judge.
    """

    __slots__ = ("_header", "_limit", "_message", "_remaining", "closed")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._header = b""
        self._remaining = 0  # bytes to come of the frame in progress
        self._message = 0  # payload bytes of the message in progress
        self.closed = False
        """Whether a close frame has passed."""

    @property
    def at_boundary(self) -> bool:
        """Whether everything passed on so far consists of whole frames."""
        return not self._remaining

    def feed(self, data: bytes) -> bytes:
        """What to pass on after `data`, the next bytes of the stream.

        Raises `MessageTooBig` at the frame that takes its message, or a control frame, over the limit.
        """
        if self._header:
            data = self._header + data
            self._header = b""
        size = len(data)
        start = self._remaining  # of the next frame
        while start < size:
            if start + 1 == size:
                return self._hold(data, start)
            first, second = data[start], data[start + 1]
            length = second & 0x7F
            header = 2
            if length == 126:
                header = 4
            elif length == 127:
                header = 10
            payload = start + header + (4 if second & MASKED else 0)
            if payload > size:
                return self._hold(data, start)
            if header > 2:
                length = int.from_bytes(data[start + 2 : start + header], "big")
            if self._count(first, length) > self._limit:
                self._remaining = 0
                raise MessageTooBig(data[:start])
            start = payload + length
        self._remaining = start - size
        return data

    def rest_of_frame(self, data: bytes) -> bytes:
        """What of `data`, the next bytes of the stream, belongs to the frame in progress."""
        rest = data[: self._remaining]
        self._remaining -= len(rest)
        return rest

    def _hold(self, data: bytes, start: int) -> bytes:
        self._remaining = 0
        self._header = data[start:]
        return data[:start]

    def _count(self, first: int, length: int) -> int:
        """The size by which a frame is judged: that of its message so far, or its own.

        A control frame that is longer than one may be is for the endpoint to refuse, unless it never ends.
        """
        opcode = first & 0x0F
        if opcode >= CONTROL:
            self.closed = self.closed or opcode == CLOSE
            return length if length > MAX_CONTROL else 0
        message = length if opcode else self._message + length
        self._message = 0 if first & FIN else message
        return message
