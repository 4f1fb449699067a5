"""A request's body on its way to a container."""

from __future__ import annotations

from portico.gateway.head import IDEMPOTENT, Header, RequestHead, may_trail
from portico.gateway.limits import Limits


class RequestBody:
    """Pieces that wait to be sent, framed; a small body of an idempotent request is kept for a second try."""

    __slots__ = ("_chunked", "_kept", "_limits", "_pieces", "size", "waiting")

    def __init__(self, head: RequestHead, limits: Limits) -> None:
        self._chunked = head.chunked
        self._limits = limits
        self.size = 0
        """Bytes that came."""
        self._pieces: list[bytes] = []
        self._kept: list[bytes] | None = [] if head.method in IDEMPOTENT else None
        self.waiting = 0
        """Bytes that wait to be sent."""

    def add(self, data: bytes) -> bool:
        """Take a piece; False where the body is larger than it may be."""
        self.size += len(data)
        if self.size > self._limits.request_body:
            return False
        self._push(b"%x\r\n%b\r\n" % (len(data), data) if self._chunked else data)
        return True

    def end(self, trailers: list[Header]) -> None:
        """The body is whole."""
        if self._chunked:
            lines = [b"%b: %b\r\n" % trailer for trailer in trailers if may_trail(trailer[0])]
            self._push(b"".join((b"0\r\n", *lines, b"\r\n")))

    def _push(self, data: bytes) -> None:
        self._pieces.append(data)
        self.waiting += len(data)
        if self._kept is None:
            return
        if self.size <= self._limits.replay_body:
            self._kept.append(data)
        else:
            self._kept = None

    def take(self) -> bytes:
        """What waits, to be sent now."""
        data = b"".join(self._pieces)
        self._pieces.clear()
        self.waiting = 0
        return data

    def put_back(self, data: bytes) -> None:
        """What was taken last could not be sent: it waits again."""
        self._pieces.insert(0, data)
        self.waiting += len(data)

    def forget(self) -> None:
        """There will be no second try."""
        self._kept = None

    def rewind(self) -> bool:
        """Have the whole body wait again; False where it is not in hand any more."""
        if self._kept is None:
            return False
        self._pieces = list(self._kept)
        self.waiting = sum(map(len, self._pieces))
        return True
