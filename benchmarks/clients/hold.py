"""Connections that are opened, used once and then kept: ``… hold requests|websockets URL CONNECTIONS``.

Prints ``open`` when all are, and at SIGTERM how many of them still are.
"""

from __future__ import annotations

import signal
import socket
import sys

from benchmarks.clients.http import request_to, where
from benchmarks.clients.websocket import PATIENCE, opened, upgraded
from benchmarks.model import MeasurementError


def requested(url: str) -> socket.socket:
    """A connection on which a request without content has been answered."""
    connection = socket.create_connection(where(url), PATIENCE)
    connection.sendall(request_to(url))
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        if not (more := connection.recv(65536)):
            raise MeasurementError(f"closed instead of answered: {head!r}")
        head += more
    if not head.startswith(b"HTTP/1.1 204 "):
        raise MeasurementError(f"answered {head!r}")
    return connection


def websocket(url: str) -> socket.socket:
    """A connection that has become a WebSocket."""
    connection = opened(url)
    upgraded(connection)
    return connection


def still_open(connection: socket.socket) -> bool:
    """Whether the other side has neither closed nor said anything."""
    connection.setblocking(False)
    try:
        connection.recv(1)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def main(what: str, url: str, connections: str) -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
    opening = requested if what == "requests" else websocket
    held = [opening(url) for _ in range(int(connections))]
    print("open", flush=True)
    signal.sigwait([signal.SIGTERM])
    print(sum(map(still_open, held)), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
