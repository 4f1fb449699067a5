"""A crowd of idle clients, in a process of its own: ``python crowd.py PORT keep-alive|websocket COUNT``.

Says ``here`` once each has had an answer. Then, for each line it is told, every hundredth asks again over the connection
that it has kept, and ``answered`` follows; at the end of its input all of them hang up.
"""

from __future__ import annotations

import socket
import sys

from wires import HANDSHAKE, TEXT, frame

PAGE = b"GET /page HTTP/1.1\r\nHost: crowd\r\n\r\n"
FIELDS = "".join(f"{name}: {value}\r\n" for name, value in HANDSHAKE.items())
OPENING = f"GET /talk HTTP/1.1\r\nHost: crowd\r\n{FIELDS}\r\n".encode()
HELLO = frame(TEXT, b"hello")


def come(port: int, kind: str) -> socket.socket:
    """A client that has had its answer."""
    client = socket.create_connection(("127.0.0.1", port))
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if kind == "websocket":
        client.sendall(OPENING)
        assert read(client, b"\r\n\r\n").startswith(b"HTTP/1.1 101 ")
    ask(client, kind)
    return client


def ask(client: socket.socket, kind: str) -> None:
    client.sendall(HELLO if kind == "websocket" else PAGE)
    read(client, b"hello")


def read(client: socket.socket, end: bytes) -> bytes:
    data = b""
    while not data.endswith(end):
        piece = client.recv(4096)
        assert piece, f"the connection ended behind {data!r}"
        data += piece
    return data


def main(port: int, kind: str, count: int) -> None:
    crowd = [come(port, kind) for _ in range(count)]
    print("here", flush=True)
    for _ in sys.stdin:
        for client in crowd[::100]:
            ask(client, kind)
        print("answered", flush=True)
    for client in crowd:
        client.close()


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
