"""A WebSocket client's bytes, cut at the ends of frames (RFC 6455 §5.2), with an eye on its text."""

from __future__ import annotations

import codecs

from websockets.frames import apply_mask  # type: ignore[attr-defined]

CONTINUATION, TEXT, CLOSE = 0x0, 0x1, 0x8
CONTROL = 0x8  # opcodes from here on are control frames
FIN, RSV1, MASKED = 0x80, 0x40, 0x80


class Pieces:
    """Hands out what was fed in pieces that end where a frame or the data ends; none begins within a header.

    The text of a message is checked as it comes, so that an endpoint need not wait for the end of a message
    that cannot become valid (RFC 6455 §8.1). A frame that is there as a whole and is a whole message is left to
    the endpoint; and so is compressed text.
    """

    def __init__(self) -> None:
        self._data = b""
        self._position = 0
        self._remaining = 0  # bytes to come of the frame in progress
        self._opcode = 0
        self._fin = True
        self._mask = b""
        self._text: codecs.IncrementalDecoder | None = None
        self._in_message = False

    @property
    def waiting(self) -> bool:
        """Whether there is something that was not handed out, be it half a header."""
        return self._position < len(self._data)

    @property
    def interrupting_close(self) -> bool:
        """Whether the last piece is of a close frame amid the frames of a message."""
        return self._opcode == CLOSE and self._in_message

    def feed(self, data: bytes) -> None:
        """Take the next bytes of the stream."""
        self._data = self._data[self._position :] + data if self.waiting else data
        self._position = 0

    def next(self) -> bytes | None:
        """The next piece, if there is one. Raises UnicodeDecodeError where its text is not UTF-8."""
        start, size = self._position, len(self._data)
        payload = start
        if not self._remaining:
            payload = self._header(start)
            if payload > size or payload == start:
                return None
        elif start == size:
            return None
        end = min(payload + self._remaining, size)
        self._remaining -= end - payload
        self._position = end
        if self._opcode < CONTROL:
            self._check_text(payload, end)
        if not start and end == size:
            return self._data
        return self._data[start:end]

    def _header(self, start: int) -> int:
        """Where the payload of the frame at `start` begins; `start`, or beyond the data, where that is not said yet."""
        data = self._data
        if len(data) < start + 2:
            return start
        first, second = data[start], data[start + 1]
        length = second & 0x7F
        position = start + 2 + (2 if length == 126 else 8 if length == 127 else 0)
        payload = position + (4 if second & MASKED else 0)
        if payload > len(data):
            return payload
        if position > start + 2:
            length = int.from_bytes(data[start + 2 : position], "big")
        self._remaining = length
        self._opcode = first & 0x0F
        if self._opcode < CONTROL:
            self._fin = bool(first & FIN)
            self._mask = data[position:payload]
            self._begin(first, whole=payload + length <= len(data))
        return payload

    def _begin(self, first: int, *, whole: bool) -> None:
        self._in_message = not self._fin
        if self._opcode == TEXT and not first & RSV1 and not (self._fin and whole):
            self._text = codecs.getincrementaldecoder("utf-8")()
        elif self._opcode != CONTINUATION:
            self._text = None

    def _check_text(self, start: int, end: int) -> None:
        if self._text is None:
            return
        final = self._fin and not self._remaining
        piece = self._data[start:end]
        if self._mask:
            piece = apply_mask(piece, self._mask)
            turn = (end - start) % 4
            self._mask = self._mask[turn:] + self._mask[:turn]
        self._text.decode(piece, final)
        if final:
            self._text = None
