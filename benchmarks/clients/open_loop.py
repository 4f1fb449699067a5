"""Requests on a schedule that does not wait for answers: ``… open_loop URL RATE CONNECTIONS SECONDS``.

Latency counts from the moment at which a request was due, so that a server that stalls pays for every request that it
held up (no coordinated omission). A request that is due while every connection is busy waits for the first that is free.
"""

from __future__ import annotations

import gc
import json
import select
import selectors
import socket
import sys
import time
from collections import deque

from benchmarks.clients.http import request_to, where
from benchmarks.http import get
from benchmarks.model import MeasurementError
from benchmarks.statistics import quantile

LEAD = 0.02  # seconds from the last preparation to the first request
PATIENCE = 10.0  # seconds without an answer
BEHIND = 3.0  # times as long as planned: the server cannot keep up, and there is nothing to measure


class Connection:
    """One request at a time. `due` is when it should have been sent, `free` when the last was answered."""

    __slots__ = ("due", "free", "received", "socket")

    def __init__(self, address: tuple[str, int]) -> None:
        self.socket = socket.create_connection(address, PATIENCE)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.setblocking(False)
        self.due = self.free = 0.0
        self.received = b""


class Load:
    """Connections to one URL whose answer, a 200, always ends with `body`."""

    def __init__(self, url: str, connections: int, body: bytes) -> None:
        self._request = request_to(url)
        self._body = body
        self._selector = selectors.DefaultSelector()
        self._all = [Connection(where(url)) for _ in range(connections)]
        for connection in self._all:
            self._selector.register(connection.socket, selectors.EVENT_READ, connection)

    def __enter__(self) -> Load:
        return self

    def __exit__(self, *_: object) -> None:
        self._selector.close()
        for connection in self._all:
            connection.socket.close()

    def once(self) -> None:
        """A request on each connection, so that every server has its own connections open."""
        self.run(len(self._all), float("inf"))

    def run(self, count: int, rate: float) -> dict[str, float]:
        """Send `count` requests, `rate` a second; latencies in microseconds."""
        idle = deque(self._all)
        latencies: list[float] = []
        late: list[float] = []
        clock, interval = time.perf_counter, 1 / rate
        began = clock() + LEAD
        for connection in idle:
            connection.free = began
        limit = began + PATIENCE + BEHIND * count * interval
        sent, due = 0, began
        while len(latencies) < count:
            now = clock()
            while idle and sent < count and due <= now:
                connection = idle.popleft()
                connection.due = due
                late.append(now - max(due, connection.free))
                connection.socket.send(self._request)
                sent += 1
                due = began + sent * interval
            self._wait(min(due, limit) - clock() if idle and sent < count else PATIENCE)
            for key, _ in self._selector.select(0):
                connection = key.data
                if self._whole(connection):
                    connection.free = now = clock()
                    latencies.append(now - connection.due)
                    idle.append(connection)
            if now > limit:
                raise MeasurementError(f"{len(latencies)} of {count} answers came in time")
        return {
            "requests": count / (clock() - began),
            "p50": 1e6 * quantile(latencies, 0.5),
            "p99": 1e6 * quantile(latencies, 0.99),
            "late": 1e6 * quantile(late, 0.99),
        }

    def _wait(self, seconds: float) -> None:
        # A selector's own timeout is rounded up to milliseconds.
        ready = seconds <= 0 or select.select([self._selector], [], [], seconds)[0]
        if not ready and seconds == PATIENCE:
            raise MeasurementError("there was no answer")

    def _whole(self, connection: Connection) -> bool:
        received = connection.socket.recv(65536)
        if not received:
            raise MeasurementError("a connection was closed")
        if connection.received:
            received = connection.received + received
        if not received.endswith(self._body):
            connection.received = received
            return False
        connection.received = b""
        if not received.startswith(b"HTTP/1.1 200"):
            raise MeasurementError(f"answered {received[:100]!r}")
        return True


def main(url: str, rate: str, connections: str, seconds: str) -> None:
    with Load(url, int(connections), get(url).body) as load:
        load.once()
        gc.collect()
        gc.disable()
        count = max(1, round(float(rate) * float(seconds)))
        print(json.dumps(load.run(count, float(rate))))


if __name__ == "__main__":
    main(*sys.argv[1:])
