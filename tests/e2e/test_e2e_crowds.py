"""Thousands of clients that are there and say nothing."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from driver import DEADLINE, Portico, Running, get, until

MOST_EACH = 20 * 1024  # bytes of the gateway for each idle client

CROWD = """
    import modal

    app = modal.App("crowd")

    @app.function(image=modal.Image.debian_slim(), allow_concurrent_inputs=20_000, max_containers=1)
    @modal.asgi_app()
    def web():
        async def serve(scope, receive, send):
            if scope["type"] == "websocket":
                await receive()
                await send({"type": "websocket.accept"})
                while (message := await receive())["type"] == "websocket.receive":
                    await send({"type": "websocket.send", "text": message["text"]})
            elif scope["type"] == "http":
                headers = [(b"content-length", b"5")]
                await send({"type": "http.response.start", "status": 200, "headers": headers})
                await send({"type": "http.response.body", "body": b"hello"})
        return serve
"""


class Crowd:
    """Clients in a process of their own."""

    def __init__(self, url: str, kind: str, count: int) -> None:
        command = [sys.executable, str(Path(__file__).parent / "crowd.py")]
        self._process = subprocess.Popen(
            [*command, str(urlsplit(url).port), kind, str(count)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdin
        assert self._process.stdout
        self._said, self._told = self._process.stdout, self._process.stdin

    def hear(self, word: str) -> None:
        assert self._said.readline().strip() == word

    def ask(self) -> None:
        """Have some of them ask once more."""
        print("again", file=self._told, flush=True)
        self.hear("answered")

    def leave(self) -> None:
        self._told.close()
        assert self._process.wait(DEADLINE) == 0
        self._said.close()


@contextlib.contextmanager
def crowd(url: str, kind: str, count: int) -> Iterator[Crowd]:
    clients = Crowd(url, kind, count)
    try:
        clients.hear("here")
        yield clients
    finally:
        clients.leave()


def resident(server: Running) -> int:
    """Bytes of memory that the server has now."""
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    (line,) = (line for line in status.splitlines() if line.startswith("VmRSS:"))
    return int(line.split()[1]) * 1024


def descriptors(server: Running) -> int:
    return len(list(Path(f"/proc/{server.process.pid}/fd").iterdir()))


@pytest.mark.timeout(300)
@pytest.mark.parametrize(("kind", "count"), [("keep-alive", 10_000), ("websocket", 5_000)])
def test_idle_clients_take_little_memory_and_leave_nothing_behind(
    user: Portico, kind: str, count: int
) -> None:
    server = user.start_server()
    url = user.deploy("crowd.py", CROWD).url("web")
    assert get(url).text == "hello"
    few = descriptors(server)
    with crowd(url, kind, 100):  # what the first ones take is not theirs
        pass
    all_gone(user, server, few)
    before = resident(server)
    with crowd(url, kind, count) as clients:
        each = (resident(server) - before) / count
        assert descriptors(server) > count  # they are there indeed
        assert get(url).text == "hello"
        clients.ask()
        assert each <= MOST_EACH
    all_gone(user, server, few)
    assert get(url).text == "hello"


def all_gone(user: Portico, server: Running, few: int) -> None:
    """Wait until no input runs, and the server has no more open files than `few` and some to spare."""
    until(lambda: [c["running"] for c in user.containers("crowd")] == [0], "no input to run")
    until(lambda: descriptors(server) <= few + 5, "the clients to be gone")
