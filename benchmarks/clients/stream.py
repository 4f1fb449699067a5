"""Large bodies, and events as they come.

``… stream upload URL BYTES`` and ``… stream download URL BYTES`` move one body.
``… stream events URL STREAMS EVENTS MILLISECONDS`` follows many streams with so many events each, so far apart.
"""

from __future__ import annotations

import json
import re
import selectors
import socket
import sys
import time

from benchmarks.clients.http import request_to, where
from benchmarks.model import MeasurementError
from benchmarks.statistics import quantile

PATIENCE = 60.0  # seconds without a byte
BLOCK = 1 << 18
MIB = 1 << 20
EVENT = re.compile(rb"data: (\d+)\n\n")
LONGEST = 64  # bytes of an event


def upload(url: str, size: int) -> dict[str, float]:
    """MiB a second until the answer, which is the number of bytes that have arrived."""
    block = memoryview(b"x" * BLOCK)
    with socket.create_connection(where(url), PATIENCE) as connection:
        began = time.perf_counter()
        connection.sendall(request_to(url, "POST", f"content-length: {size}"))
        for left in range(size, 0, -BLOCK):
            connection.sendall(block[:left])
        head, body = answer(connection)
        seconds = time.perf_counter() - began
    if not body.endswith(str(size).encode()):
        raise MeasurementError(f"{size} bytes were sent; the answer is {head + body!r}")
    return {"rate": size / MIB / seconds}


def download(url: str, size: int) -> dict[str, float]:
    """MiB a second from the request to the last byte."""
    buffer = bytearray(BLOCK)
    with socket.create_connection(where(url), PATIENCE) as connection:
        began = time.perf_counter()
        connection.sendall(request_to(f"{url}/download/{size}"))
        head, body = answer(connection)
        left = size - len(body)
        while left > 0 and (received := connection.recv_into(buffer)):
            left -= received
        seconds = time.perf_counter() - began
    if left:
        raise MeasurementError(f"{size} bytes were asked for; {left} are missing:\n{head!r}")
    return {"rate": size / MIB / seconds}


def answer(connection: socket.socket) -> tuple[bytes, bytes]:
    """The head of an answer and what there is of its body. Raises `MeasurementError` where it is no success."""
    received = b""
    while b"\r\n\r\n" not in received:
        if not (more := connection.recv(65536)):
            raise MeasurementError(f"closed before the end of the head: {received[:100]!r}")
        received += more
    head, _, body = received.partition(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 200"):
        raise MeasurementError(f"answered {received[:1000]!r}")
    return head, body or connection.recv(65536)


def events(url: str, streams: int, count: int, pause: int) -> dict[str, float]:
    """Microseconds from the sending of an event, by the clock of the machine, to its arrival.

    `first` is the time from a request to its first event.
    """
    target = f"{url}/events/{count}/{pause}"
    selector = selectors.DefaultSelector()
    asked: dict[socket.socket, int] = {}
    tails: dict[socket.socket, bytes] = {}
    taken: list[int] = []
    first: list[int] = []
    for _ in range(streams):
        connection = socket.create_connection(where(target), PATIENCE)
        selector.register(connection, selectors.EVENT_READ)
        asked[connection], tails[connection] = time.monotonic_ns(), b""
        connection.sendall(request_to(target))
    while len(taken) < streams * count:
        ready = selector.select(PATIENCE)
        if not ready:
            raise MeasurementError(f"{len(taken)} of {streams * count} events came")
        for key, _ in ready:
            connection = key.fileobj  # type: ignore[assignment]
            received = connection.recv(65536)
            now = time.monotonic_ns()
            if not received:
                raise MeasurementError(f"a stream was closed after {tails[connection]!r}")
            text = tails[connection] + received
            last = 0
            for event in EVENT.finditer(text):
                taken.append(now - int(event[1]))
                last = event.end()
            if last and connection in asked:
                first.append(now - asked.pop(connection))
            tails[connection] = text[last:][-LONGEST:]
    for connection in tails:
        connection.close()
    return {
        "p50": quantile(taken, 0.5) / 1000,
        "p99": quantile(taken, 0.99) / 1000,
        "first": quantile(first, 0.5) / 1000,
    }


def main(what: str, url: str, *numbers: str) -> None:
    if what == "events":
        streams, count, pause = map(int, numbers)
        print(json.dumps(events(url, streams, count, pause)))
        return
    (size,) = map(int, numbers)
    print(json.dumps(upload(url, size) if what == "upload" else download(url, size)))


if __name__ == "__main__":
    main(*sys.argv[1:])
