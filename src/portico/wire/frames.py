"""Length-prefixed frames for stream sockets between our own processes."""

from __future__ import annotations

import struct

HEADER = struct.Struct(">I")
MAX_FRAME = 1 << 30  # bytes; anything larger is a broken peer, not a message


class FrameError(ValueError):
    """The peer announced a frame that cannot be one."""


def frame(body: bytes) -> bytes:
    """`body` behind its length as four bytes, big-endian."""
    return HEADER.pack(len(body)) + body


class FrameDecoder:
    """Cuts a byte stream into frames; keeps what is incomplete."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        """Add `data` and return the frames that are now whole. Raises `FrameError`."""
        buffer = self._buffer
        buffer += data
        frames: list[bytes] = []
        start = 0
        while len(buffer) - start >= HEADER.size:
            (size,) = HEADER.unpack_from(buffer, start)
            if size > MAX_FRAME:
                raise FrameError(f"frame of {size} bytes announced, {MAX_FRAME} is the most")
            end = start + HEADER.size + size
            if len(buffer) < end:
                break
            frames.append(bytes(buffer[start + HEADER.size : end]))
            start = end
        del buffer[:start]
        return frames
