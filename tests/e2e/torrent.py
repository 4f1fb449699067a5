"""A client that sends or takes much, in a process of its own: ``python torrent.py PORT up|down BYTES``.

What flows is `PATTERN` over and over, and every byte of it is compared. Prints the body of the answer to an upload,
the number of bytes of a download.
"""

from __future__ import annotations

import random
import socket
import sys

PATTERN = random.Random(4).randbytes(1_048_573)  # a prime number, so that nothing shifts unnoticed
TWICE = PATTERN * 2
READ = 1 << 16  # bytes; larger ones are mapped and unmapped for each read


class Comparison:
    """Takes a stream in pieces, each shorter than the pattern."""

    def __init__(self) -> None:
        self.size = 0

    def add(self, piece: bytes) -> None:
        start = self.size % len(PATTERN)
        assert piece == TWICE[start : start + len(piece)], f"wrong behind {self.size} bytes"
        self.size += len(piece)


def connect(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port))


def begin_upload(port: int, size: int, path: str = "/up") -> socket.socket:
    client = connect(port)
    client.sendall(
        b"POST %b HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n" % (path.encode(), size)
    )
    return client


def upload(port: int, size: int) -> bytes:
    with begin_upload(port, size) as client:
        whole, rest = divmod(size, len(PATTERN))
        for _ in range(whole):
            client.sendall(PATTERN)
        client.sendall(PATTERN[:rest])
        return answer(client)[1]


def answer(client: socket.socket) -> tuple[bytes, bytes]:
    """The head of the answer, and what came of its body with the next reads up to its length."""
    data = b""
    while b"\r\n\r\n" not in data:
        data += _some(client)
    head, _, body = data.partition(b"\r\n\r\n")
    length = int(head.lower().partition(b"content-length: ")[2].split()[0])
    while len(body) < min(length, 1000):
        body += _some(client)
    return head, body


def begin_download(port: int, size: int) -> tuple[socket.socket, Comparison]:
    client = connect(port)
    client.sendall(b"GET /down?%d HTTP/1.1\r\nHost: h\r\n\r\n" % size)
    got = Comparison()
    head, body = answer(client)
    assert head.startswith(b"HTTP/1.1 200 "), head
    got.add(body)
    return client, got


def take(client: socket.socket, got: Comparison, size: int) -> None:
    """Read until `size` bytes have come in all."""
    while got.size < size:
        got.add(_some(client, min(READ, size - got.size)))


def _some(client: socket.socket, most: int = READ) -> bytes:
    data = client.recv(most)
    assert data, "the connection ended"
    return data


def main(port: int, direction: str, size: int) -> None:
    if direction == "up":
        print(upload(port, size).decode())
        return
    client, got = begin_download(port, size)
    take(client, got, size)
    print(got.size)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
