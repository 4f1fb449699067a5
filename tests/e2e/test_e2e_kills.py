"""Containers killed without warning under load: what may be repeated is, and nothing else is executed twice."""

from __future__ import annotations

import itertools
import os
import signal
import threading
from collections import Counter
from pathlib import Path

from driver import Portico, Stream, alive, client, post, until

SCRIPT = """
    import os
    import modal

    app = modal.App("killed", image=IMAGE)

    @app.function(min_containers=2, max_containers=3, allow_concurrent_inputs=10)
    @modal.asgi_app()
    def counter():
        from fastapi import FastAPI

        web = FastAPI()

        @web.get("/")
        async def look():
            return os.getpid()

        @web.post("/{number}")
        async def count(number: str):
            with open("COUNTS", "a") as file:
                file.write(number + "\\n")
            return os.getpid()

        return web
"""
KILLS = 20


class Posts:
    """Clients that post one number after the other, each number once, and keep the answers."""

    def __init__(self, url: str, clients: int = 2) -> None:
        self._url = url
        self._numbers = itertools.count()
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run) for _ in range(clients)]
        self.statuses: dict[int, int] = {}

    def __enter__(self) -> Posts:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _run(self) -> None:
        with client() as http:
            while not self._stop.is_set():
                number = next(self._numbers)
                self.statuses[number] = http.post(f"{self._url}/{number}").status_code


def test_no_post_is_executed_twice_and_no_get_is_lost_while_containers_are_killed(
    server: Portico, tmp_path: Path
) -> None:
    counts = tmp_path / "counts"
    app = server.deploy("killed.py", SCRIPT.replace("COUNTS", str(counts)))
    url = app.url("counter")
    assert post(f"{url}/first").status_code == 200

    with Stream(url) as gets, Posts(url) as posts:
        gets.until_answered(1)
        for _ in range(KILLS):
            victim = int(gets.last)
            os.kill(victim, signal.SIGKILL)
            until(lambda pid=victim: not alive(pid), "the end of it")
            # One after the other: a request that two of them take with them may be lost.
            gets.until_answered(30)
            until(lambda pid=victim: int(gets.last) != pid, "an answer of another one")
    assert gets.failures == []
    executed = Counter(counts.read_text().split())
    assert max(executed.values()) == 1
    assert set(posts.statuses.values()) <= {200, 502}
    answered = [str(n) for n, status in posts.statuses.items() if status == 200]
    assert answered
    assert executed.keys() >= set(answered)
    until(
        lambda: {c["running"] for c in server.containers("killed")} == {0}, "nothing that runs on"
    )
