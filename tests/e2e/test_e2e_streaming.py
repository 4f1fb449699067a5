"""Bodies of any size pass as they come, and none of them is held: at size, and where one side is slow."""

from __future__ import annotations

import contextlib
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from driver import DEADLINE, Portico, Running, client, get, until
from torrent import PATTERN, answer, begin_download, begin_upload, take

GIB, MIB = 1024**3, 1024**2
MOST = 32 * MIB  # growth of the gateway
IN_BUFFERS = 32 * MIB  # more than all buffers on the way hold, those of the kernel included

APP = """
    import asyncio
    import json
    import random
    import time
    import modal

    app = modal.App("torrent")
    PATTERN = random.Random(4).randbytes(1_048_573)
    TWICE = PATTERN * 2

    @app.function(
        image=modal.Image.debian_slim(), allow_concurrent_inputs=1000, max_containers=1, timeout=900
    )
    @modal.asgi_app()
    def web():
        sent, received, go_on = 0, 0, asyncio.Event()

        async def answer(send, body):
            headers = [(b"content-length", b"%d" % len(body))]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            await send({"type": "http.response.body", "body": body})

        async def up(receive, send):
            nonlocal received
            received, right, more = 0, True, True
            while more:
                message = await receive()
                if message["type"] == "http.disconnect":
                    return
                piece, more = message.get("body", b""), message.get("more_body", False)
                start = received % len(PATTERN)
                right = right and piece == TWICE[start : start + len(piece)]
                received += len(piece)
            await answer(send, json.dumps([received, right]).encode())

        async def down(send, size):
            nonlocal sent
            headers = [(b"content-length", b"%d" % size)]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            gone = 0
            while gone < size:
                piece = PATTERN[: size - gone]
                await send({"type": "http.response.body", "body": piece, "more_body": True})
                gone += len(piece)
                sent += len(piece)
            await send({"type": "http.response.body"})

        async def events(send, count):
            headers = [(b"content-type", b"text/event-stream")]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            for _ in range(count):
                await asyncio.sleep(0.005)
                event = f"data: {time.monotonic()}\\n\\n".encode()
                await send({"type": "http.response.body", "body": event, "more_body": True})
            await send({"type": "http.response.body"})

        async def serve(scope, receive, send):
            if scope["type"] != "http":
                raise NotImplementedError
            path, query = scope["path"], scope["query_string"]
            if path == "/up":
                await up(receive, send)
            elif path == "/up-later":
                await go_on.wait()
                await up(receive, send)
            elif path == "/down":
                await down(send, int(query))
            elif path == "/events":
                await events(send, int(query))
            else:
                if path == "/go-on":
                    go_on.set()
                await answer(send, json.dumps([sent, received]).encode())

        return serve
"""


class Torrent:
    """The app, and the server whose memory counts."""

    def __init__(self, user: Portico) -> None:
        self.server: Running = user.start_server()
        self.url = user.deploy("torrent.py", APP).url("web")
        port = urlsplit(self.url).port
        assert port is not None
        self.port = port

    def progress(self) -> tuple[int, int]:
        """Bytes that the container has sent in all downloads, and received in the last upload."""
        sent, received = get(f"{self.url}/progress").json()
        return sent, received

    def stands_still(self, which: int) -> int:
        """Wait until the container sends, or receives, no more; how much that was."""
        seen = [-1]

        def still() -> bool:
            seen.append(self.progress()[which])
            time.sleep(0.2)
            return seen[-1] > 0 and seen[-1] == seen[-2] == self.progress()[which]

        until(still, "the container to stand still")
        return seen[-1]

    def run(self, direction: str, size: int) -> str:
        """Let a process of its own send or take `size` bytes; what it prints."""
        script = str(Path(__file__).parent / "torrent.py")
        command = [sys.executable, script, str(self.port), direction, str(size)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=500)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()


@pytest.fixture(scope="module")
def torrent(tmp_path_factory: pytest.TempPathFactory, images: Path) -> Iterator[Torrent]:
    with Portico(tmp_path_factory.mktemp("torrent"), images) as user:
        made = Torrent(user)
        for direction in ("up", "down"):  # what the first of them takes is not theirs
            made.run(direction, 8 * MIB)
        yield made


@pytest.fixture
def bounded(torrent: Torrent) -> Iterator[Torrent]:
    """The server's memory may not have grown by more than `MOST` at any moment of the test."""
    process = Path(f"/proc/{torrent.server.process.pid}")
    try:
        (process / "clear_refs").write_text("5")  # the peak begins anew
    except OSError:
        pytest.skip("the peak of another process's memory cannot be set back here")
    before = _kib(process, "VmRSS")
    yield torrent
    grown = _kib(process, "VmHWM") - before
    assert grown * 1024 <= MOST


def _kib(process: Path, name: str) -> int:
    lines = (process / "status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(f"{name}:")).split()[1])


@pytest.mark.timeout(600)
def test_four_gibibytes_are_uploaded_through_little_memory(bounded: Torrent) -> None:
    assert bounded.run("up", 4 * GIB) == f"[{4 * GIB}, true]"


@pytest.mark.timeout(600)
def test_ten_gibibytes_are_downloaded_through_little_memory(bounded: Torrent) -> None:
    assert bounded.run("down", 10 * GIB) == f"{10 * GIB}"


def test_slow_readers_pause_the_container(bounded: Torrent) -> None:
    size, before = 128 * MIB, bounded.progress()[0]
    readers = [begin_download(bounded.port, size) for _ in range(2)]
    for far in (2 * MIB, 60 * MIB):
        for reader, got in readers:
            take(reader, got, far)
        ahead = bounded.stands_still(0) - before - 2 * far
        assert ahead < 2 * IN_BUFFERS
    for reader, got in readers:
        take(reader, got, size)
        reader.close()


def test_many_readers_that_do_not_read_take_little_memory(bounded: Torrent) -> None:
    readers = [begin_download(bounded.port, 64 * MIB)[0] for _ in range(50)]
    bounded.stands_still(0)
    for reader in readers:
        reader.close()


def test_a_container_that_does_not_read_pauses_the_client(bounded: Torrent) -> None:
    size = 128 * MIB
    with begin_upload(bounded.port, size, "/up-later") as writer:
        sent = send_until_stuck(writer, size)
        assert sent < IN_BUFFERS
        get(f"{bounded.url}/go-on")
        while sent < size:
            sent += writer.send(_pattern(sent, min(65536, size - sent)))
        assert answer(writer)[1] == b"[%d, true]" % size


def send_until_stuck(writer: socket.socket, size: int) -> int:
    """Send until nothing more is taken for a second; how much was."""
    sent = 0
    writer.settimeout(1)
    with contextlib.suppress(TimeoutError):
        while sent < size:
            sent += writer.send(_pattern(sent, 65536))
    writer.settimeout(DEADLINE)
    return sent


def test_what_a_slow_writer_sends_is_there_before_it_sends_more(bounded: Torrent) -> None:
    size, step = 4 * MIB, 256 * 1024
    with begin_upload(bounded.port, size) as writer:
        for sent in range(step, size, step):
            writer.sendall(_pattern(sent - step, step))
            until(partial(_has_come, bounded, sent), "the piece")
        writer.sendall(_pattern(size - step, step))
        assert answer(writer)[1] == b"[%d, true]" % size


def _has_come(torrent: Torrent, size: int) -> bool:
    return torrent.progress()[1] == size


def _pattern(start: int, size: int) -> bytes:
    start %= len(PATTERN)
    return (PATTERN[start:] + PATTERN)[:size]


def test_events_arrive_within_50_milliseconds_of_being_sent(torrent: Torrent) -> None:
    with client() as http, http.stream("GET", f"{torrent.url}/events?400") as answer:
        late = [
            time.monotonic() - float(line.removeprefix("data: "))
            for line in answer.iter_lines()
            if line
        ]
    assert len(late) == 400
    assert statistics.median(late) <= 0.05
