"""A WebSocket client that says exactly what it is told, frame by frame (RFC 6455 §5.2)."""

from __future__ import annotations

import os
import socket
import struct
from types import TracebackType
from typing import NamedTuple
from urllib.parse import urlsplit

from driver import DEADLINE

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA
HANDSHAKE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
}


class Frame(NamedTuple):
    """A frame as it came; `first` holds its bits and opcode."""

    first: int
    payload: bytes

    @property
    def code(self) -> int:
        """The code of a close frame; 1005 where it has none."""
        assert self.first == 0x80 | CLOSE, self
        return struct.unpack("!H", self.payload[:2])[0] if self.payload else 1005


def frame(
    opcode: int,
    payload: bytes = b"",
    *,
    fin: bool = True,
    rsv: int = 0,
    mask: bytes | None = None,
    masked: bool = True,
    length: int | None = None,
) -> bytes:
    """A client's frame. `length` is announced in place of the payload's own."""
    size = len(payload) if length is None else length
    first = (0x80 if fin else 0) | rsv << 4 | opcode
    bit = 0x80 if masked else 0
    if size < 126:
        head = struct.pack("!BB", first, bit | size)
    elif size < 1 << 16:
        head = struct.pack("!BBH", first, bit | 126, size)
    else:
        head = struct.pack("!BBQ", first, bit | 127, size)
    if not masked:
        return head + payload
    key = os.urandom(4) if mask is None else mask
    whole = (key * (len(payload) // 4 + 1))[: len(payload)]
    number = int.from_bytes(payload, "big") ^ int.from_bytes(whole, "big")
    return head + key + number.to_bytes(len(payload), "big")


def close(code: int | None = None, reason: str = "") -> bytes:
    """A client's close frame."""
    return frame(CLOSE, b"" if code is None else struct.pack("!H", code) + reason.encode())


class Wire:
    """One connection, with the answer to its handshake. Use it as a context manager."""

    def __init__(
        self,
        url: str,
        target: str = "/talk",
        headers: dict[str, str | None] | None = None,
        request: str = "GET {} HTTP/1.1",
    ) -> None:
        place = urlsplit(url)
        assert place.hostname is not None
        self.socket = socket.create_connection((place.hostname, place.port), DEADLINE)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._rest = b""
        fields = {"Host": place.netloc, **HANDSHAKE, **(headers or {})}
        lines = [f"{name}: {value}" for name, value in fields.items() if value is not None]
        self.send("\r\n".join([request.format(target), *lines, "", ""]).encode())
        while b"\r\n\r\n" not in self._rest:
            self._receive()
        head, _, self._rest = self._rest.partition(b"\r\n\r\n")
        self.status = int(head.split()[1])
        pairs = (line.split(b": ", 1) for line in head.split(b"\r\n")[1:])
        self.headers = {name.decode().lower(): value.decode() for name, value in pairs}

    def __enter__(self) -> Wire:
        assert self.status == 101, self.status
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.socket.close()

    def send(self, *data: bytes) -> None:
        for piece in data:
            self.socket.sendall(piece)

    def frame(self) -> Frame:
        """The next frame of the server. Raises EOFError."""
        first, second = self._take(2)
        assert not second & 0x80, "a server masks nothing"
        size = second
        if size == 126:
            (size,) = struct.unpack("!H", self._take(2))
        elif size == 127:
            (size,) = struct.unpack("!Q", self._take(8))
        return Frame(first, self._take(size))

    def ended(self) -> bool:
        """Whether nothing more came, up to the end of the connection."""
        try:
            self._take(1)
        except (EOFError, ConnectionResetError):
            return True
        return False

    def reset(self) -> None:
        """Leave without a word."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def _take(self, size: int) -> bytes:
        while len(self._rest) < size:
            self._receive()
        taken, self._rest = self._rest[:size], self._rest[size:]
        return taken

    def _receive(self) -> None:
        data = self.socket.recv(1 << 20)
        if not data:
            raise EOFError
        self._rest += data
