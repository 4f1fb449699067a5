"""WebSockets from one process that does little else than read and write sockets.

``… websocket echo URL CONNECTIONS BYTES SECONDS`` sends a message on each connection and the next when it is back.
``… websocket open URL CONNECTIONS SECONDS`` opens, closes and opens again so many at a time.
"""

from __future__ import annotations

import gc
import itertools
import json
import selectors
import socket
import struct
import sys
import time
from collections.abc import Callable

from benchmarks.clients.http import request_to, where
from benchmarks.model import MeasurementError
from benchmarks.statistics import quantile

PATIENCE = 10.0  # seconds without a byte
FIELDS = (
    *("Connection: Upgrade", "Upgrade: websocket"),
    *("Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: cG9ydGljbyBtZWFzdXJlcw=="),
)
BINARY, CLOSE = 0x82, 0x88  # whole messages
MASK = b"\x11\x22\x33\x44"
NORMAL = struct.pack("!H", 1000)
clock = time.perf_counter


def frame(first: int, payload: bytes, mask: bytes = b"") -> bytes:
    """A frame of a client, or without `mask` of a server (RFC 6455, section 5.2)."""
    bit, size = 0x80 if mask else 0, len(payload)
    if size < 126:
        head = struct.pack("!BB", first, bit | size)
    elif size < 1 << 16:
        head = struct.pack("!BBH", first, bit | 126, size)
    else:
        head = struct.pack("!BBQ", first, bit | 127, size)
    return head + mask + bytes(a ^ b for a, b in zip(payload, itertools.cycle(mask or b"\0")))


def opened(url: str) -> socket.socket:
    """A connection that asks for an upgrade."""
    connection = socket.create_connection(where(url), PATIENCE)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.sendall(request_to(url, "GET", *FIELDS))
    return connection


def upgraded(connection: socket.socket) -> None:
    """Wait for the end of the answer to an upgrade. Raises `MeasurementError` where it is refused."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        if not (more := connection.recv(65536)):
            raise MeasurementError(f"closed instead of upgraded: {head!r}")
        head += more
    if not head.startswith(b"HTTP/1.1 101 "):
        raise MeasurementError(f"not upgraded: {head!r}")


class Rounds:
    """What many connections do in turns, one event at a time, until the time is up.

    A connection has begun its turn when it has sent; `ended` reads what there is and says whether the turn is over.
    """

    def __init__(self, seconds: float) -> None:
        self._selector = selectors.DefaultSelector()
        self._began: dict[socket.socket, float] = {}
        self._seconds = seconds
        self.taken: list[float] = []

    def add(self, connection: socket.socket) -> None:
        """Begin a turn of a connection."""
        self._selector.register(connection, selectors.EVENT_READ)
        self._began[connection] = clock()

    def again(self, connection: socket.socket) -> None:
        """Begin the next turn of a connection whose last has ended."""
        self._began[connection] = clock()

    def remove(self, connection: socket.socket) -> None:
        """Let a connection go."""
        self._selector.unregister(connection)
        del self._began[connection]
        connection.close()

    def run(
        self, ended: Callable[[socket.socket], bool], after: Callable[[socket.socket], None]
    ) -> dict[str, float]:
        """Turns a second, and how long one takes, in microseconds. `after` begins the next turn."""
        gc.disable()
        start = now = clock()
        while now - start < self._seconds:
            ready = self._selector.select(PATIENCE)
            if not ready:
                raise MeasurementError("there was no answer")
            for key, _ in ready:
                connection: socket.socket = key.fileobj  # type: ignore[assignment]
                if ended(connection):
                    self.taken.append(clock() - self._began[connection])
                    after(connection)
            now = clock()
        return {
            "rate": len(self.taken) / (now - start),
            "p50": 1e6 * quantile(self.taken, 0.5),
            "p99": 1e6 * quantile(self.taken, 0.99),
        }


def echo(url: str, connections: int, size: int, seconds: float) -> dict[str, float]:
    """Messages a second that come back."""
    payload = bytes(itertools.islice(itertools.cycle(range(251)), size))
    sent, expected = frame(BINARY, payload, MASK), frame(BINARY, payload)
    rounds = Rounds(seconds)
    missing: dict[socket.socket, int] = {}
    for _ in range(connections):
        connection = opened(url)
        upgraded(connection)
        connection.sendall(sent)
        received = b""
        while len(received) < len(expected) and (more := connection.recv(1 << 20)):
            received += more
        if received != expected:
            raise MeasurementError(f"the echo differs from its message: {received[:100]!r}")
        missing[connection] = len(expected)

    def ended(connection: socket.socket) -> bool:
        received = len(connection.recv(1 << 20))
        if not received:
            raise MeasurementError("a connection was closed")
        missing[connection] -= received
        if missing[connection] < 0:
            raise MeasurementError("more came back than was sent")
        return not missing[connection]

    def after(connection: socket.socket) -> None:
        missing[connection] = len(expected)
        rounds.again(connection)
        connection.sendall(sent)

    for connection in missing:
        rounds.add(connection)
        connection.sendall(sent)
    return rounds.run(ended, after)


def open_and_close(url: str, connections: int, seconds: float) -> dict[str, float]:
    """Connections a second that are opened, upgraded, and closed by both sides."""
    goodbye = frame(CLOSE, NORMAL, MASK)
    rounds = Rounds(seconds)
    closing: set[socket.socket] = set()

    def ended(connection: socket.socket) -> bool:
        if connection in closing:
            return not connection.recv(65536)
        upgraded(connection)
        connection.sendall(goodbye)
        closing.add(connection)
        return False

    def after(connection: socket.socket) -> None:
        closing.discard(connection)
        rounds.remove(connection)
        rounds.add(opened(url))

    for _ in range(connections):
        rounds.add(opened(url))
    return rounds.run(ended, after)


def main(what: str, url: str, connections: str, *more: str) -> None:
    if what == "echo":
        size, seconds = more
        found = echo(url, int(connections), int(size), float(seconds))
    else:
        (seconds,) = more
        found = open_and_close(url, int(connections), float(seconds))
    print(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
