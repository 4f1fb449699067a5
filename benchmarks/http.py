"""One request on a connection of its own, timed to the first byte of its answer."""

from __future__ import annotations

import re
import socket
import time
from dataclasses import dataclass
from urllib.parse import urlsplit

TIMEOUT = 30.0  # seconds
_TIMING = re.compile(r"([a-z]+);dur=([\d.]+)")


@dataclass(frozen=True)
class Answer:
    """`seconds` run from before the connection to the first byte."""

    seconds: float
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def server_timing(self) -> dict[str, float]:
        """Durations of the ``Server-Timing`` header in milliseconds; empty where there is none."""
        found = _TIMING.findall(self.headers.get("server-timing", ""))
        return {name: float(duration) for name, duration in found}


def get(url: str, body: str = "") -> Answer:
    """GET `url`, or POST a `body` of JSON, with ``Connection: close``. Raises OSError where there is no whole answer."""
    where = urlsplit(url)
    assert where.hostname is not None
    path = where.path or "/"
    request = f"{'POST' if body else 'GET'} {path} HTTP/1.1\r\nhost: {where.netloc}\r\n"
    if body:
        request += f"content-type: application/json\r\ncontent-length: {len(body)}\r\n"
    request += f"connection: close\r\n\r\n{body}"
    began = time.perf_counter()
    with socket.create_connection((where.hostname, where.port or 80), TIMEOUT) as connection:
        connection.sendall(request.encode())
        answer = connection.recv(65536)
        seconds = time.perf_counter() - began
        while more := connection.recv(65536):
            answer += more
    head, found, content = answer.partition(b"\r\n\r\n")
    if not found:
        raise ConnectionError(f"{url} closed the connection without an answer")
    status, *fields = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): text.strip() for name, _, text in (f.partition(":") for f in fields)}
    return Answer(seconds, int(status.split()[1]), headers, content)
