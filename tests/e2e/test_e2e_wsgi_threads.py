"""The threads of a ``wsgi_app``: as many as slots, each with its request until that is over."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest
from driver import DEADLINE, Deployed, Portico, client, get, until
from websockets.sync.client import connect

THREADS = """
    import modal

    image = modal.Image.debian_slim().pip_install("flask", "flask-sock")
    app = modal.App("threads", image=image)

    def serve():
        import os, pathlib, threading, time
        from flask import Flask, Response, request
        from flask_sock import Sock

        web = Flask("threads")
        sock = Sock(web)
        signs = pathlib.Path("FOLDER")
        three, lock, here, most = threading.Barrier(3), threading.Lock(), 0, 0

        def wait_for(sign):
            deadline = time.monotonic() + 60
            while not (signs / sign).exists():
                assert time.monotonic() < deadline, sign
                time.sleep(0.01)

        @web.get("/")
        def pid():
            return str(os.getpid())

        @web.get("/hold/<name>")
        def hold(name):
            (signs / f"{name}-began").touch()
            wait_for(f"{name}-go")
            return str(os.getpid())

        @web.get("/meet")
        def meet():
            nonlocal here, most
            with lock:
                here += 1
                most = max(most, here)
            three.wait(30)
            with lock:
                here -= 1
            return str(most)

        @web.post("/talk")
        def talk():
            first = request.stream.read(100_000)
            (signs / "half-read").touch()
            size = len(first) + len(request.stream.read())

            def answer():
                yield f"{size} bytes, ".encode()
                wait_for("half-written")
                yield b"and that was all"

            return Response(answer())

        @sock.route("/thread")
        def thread(socket):
            while True:
                socket.receive()
                socket.send(str(threading.get_ident()))

        return web

    @app.function(allow_concurrent_inputs=3)
    @modal.wsgi_app()
    def many():
        return serve()

    @app.function(allow_concurrent_inputs=3, max_containers=1)
    @modal.wsgi_app()
    def three():
        return serve()

    @app.function(max_containers=1, timeout=1)
    @modal.wsgi_app()
    def one():
        return serve()
"""


@pytest.fixture(scope="module")
def signs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where handlers and tests leave files for each other."""
    return tmp_path_factory.mktemp("signs")


@pytest.fixture(scope="module")
def threads(server: Portico, signs: Path) -> Deployed:
    return server.deploy("threads.py", THREADS.replace("FOLDER", str(signs)))


def running(server: Portico, function: str) -> list[int]:
    """Inputs that run, by container."""
    return sorted(c["running"] for c in server.containers("threads", function))


def test_exactly_as_many_handlers_run_at_once_as_the_container_has_slots(
    threads: Deployed,
) -> None:
    url = f"{threads.url('three')}/meet"
    with client() as http, ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(http.get, [url] * 12))
    # Each waited for two others: with fewer threads none would have come through, with more a fourth is seen.
    assert [answer.status_code for answer in answers] == [200] * 12
    assert {answer.text for answer in answers} == {"3"}


def test_a_request_beyond_the_slots_gets_a_container_of_its_own(
    threads: Deployed, server: Portico, signs: Path
) -> None:
    url = f"{threads.url('many')}/hold"
    with ThreadPoolExecutor(4) as pool:
        futures = [pool.submit(get, f"{url}/h{number}") for number in range(3)]
        until(lambda: len(list(signs.glob("h?-began"))) == 3, "three handlers")
        assert running(server, "many") == [3]
        fourth = pool.submit(get, f"{url}/h3")
        until((signs / "h3-began").exists, "a fourth handler")
        assert running(server, "many") == [1, 3]
        for number in range(4):
            (signs / f"h{number}-go").touch()
        pids = [future.result().text for future in futures]
        assert len(set(pids)) == 1
        assert fourth.result().text not in pids
    until(lambda: not any(running(server, "many")), "no input runs")


def test_a_handler_past_the_timeout_keeps_its_slot_until_it_returns(
    threads: Deployed, server: Portico, signs: Path
) -> None:
    url = threads.url("one")
    pid = get(url).text
    late = get(f"{url}/hold/late")
    assert late.status_code == 504
    assert "within its timeout of 1 s" in late.json()["detail"]
    assert running(server, "one") == [1]
    with pytest.raises(httpx.ReadTimeout):  # there is no other slot
        get(url, timeout=1)
    assert running(server, "one") == [1]
    (signs / "late-go").touch()
    assert get(url).text == pid
    until(lambda: running(server, "one") == [0], "no input runs")


def test_a_body_is_read_while_it_is_sent_and_an_answer_sent_while_it_is_made(
    threads: Deployed, signs: Path
) -> None:
    def pieces() -> Iterator[bytes]:
        yield bytes(100_000)
        until((signs / "half-read").exists, "that the app has read what there is")
        yield bytes(900_000)

    url = f"{threads.url('many')}/talk"
    with client() as http, http.stream("POST", url, content=pieces()) as answer:
        blocks = answer.iter_text()
        assert next(blocks) == "1000000 bytes, "
        (signs / "half-written").touch()
        assert "".join(blocks) == "and that was all"


def test_websockets_at_once_have_a_thread_each_and_keep_it(threads: Deployed) -> None:
    url = threads.url("three").replace("http://", "ws://")
    with ExitStack() as stack:
        sockets = [
            stack.enter_context(connect(f"{url}/thread", proxy=None, open_timeout=DEADLINE))
            for _ in range(3)
        ]
        rounds = []
        for _ in range(2):
            for socket in sockets:
                socket.send("which")
            rounds.append([socket.recv(DEADLINE) for socket in sockets])
        assert len(set(rounds[0])) == 3
        assert rounds[1] == rounds[0]
    # All three threads are free again.
    assert get(threads.url("three")).status_code == 200
