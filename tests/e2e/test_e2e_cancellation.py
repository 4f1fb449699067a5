"""Clients that leave: who is told, when the slot is free, and what a handler costs that does not end."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from driver import DEADLINE, Deployed, Portico, get, until
from wires import Wire

SCRIPT = """
    import pathlib, time
    import modal

    app = modal.App("leavers", image=IMAGE)
    signs = pathlib.Path("FOLDER")

    def note(name, what):
        with (signs / name).open("a") as file:
            file.write(what + "\\n")

    def hold(name):
        "Go on until the test says so."
        deadline = time.monotonic() + 60
        while not (signs / f"{name}-go").exists():
            assert time.monotonic() < deadline, name
            time.sleep(0.01)
        note(name, "ended")

    @app.function(max_containers=1)
    @modal.asgi_app()
    def asynchronous():
        import asyncio
        import anyio
        from fastapi import FastAPI, Request, WebSocket, WebSocketDisconnect
        from fastapi.responses import StreamingResponse
        from starlette.requests import ClientDisconnect

        web = FastAPI()

        async def told(name, how):
            note(name, how)
            with anyio.CancelScope(shield=True):
                await anyio.to_thread.run_sync(hold, name)

        @web.get("/next/{name}")
        async def next_one(name: str):
            note(name, "next")

        @web.get("/wait/{name}")
        async def wait(name: str):
            note(name, "began")
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                await told(name, "CancelledError")
                raise

        @web.get("/listen/{name}")
        async def listen(name: str, request: Request):
            note(name, "began")
            while (message := await request.receive())["type"] == "http.request":
                pass
            await told(name, message["type"])

        @web.post("/upload/{name}")
        async def upload(name: str, request: Request):
            try:
                async for piece in request.stream():
                    note(name, "began")
            except ClientDisconnect:
                await told(name, "ClientDisconnect")
                raise

        @web.get("/stream/{name}")
        async def stream(name: str):
            async def pieces():
                note(name, "began")
                yield b"piece"
                try:
                    await asyncio.sleep(60)
                except asyncio.CancelledError:
                    await told(name, "CancelledError")
                    raise
            return StreamingResponse(pieces())

        @web.get("/stubborn/{name}")
        async def stubborn(name: str):
            note(name, "began")
            heard = 0
            while not (signs / f"{name}-go").exists():
                try:
                    await asyncio.sleep(0.01)
                except asyncio.CancelledError:
                    note(name, "CancelledError")
            note(name, "ended")

        @web.websocket("/socket/{name}")
        async def talk(name: str, socket: WebSocket):
            await socket.accept()
            note(name, "began")
            try:
                await socket.receive_text()
            except WebSocketDisconnect:
                await told(name, "WebSocketDisconnect")

        return web

    @app.function(max_containers=1)
    @modal.asgi_app()
    def threaded():
        from fastapi import FastAPI
        from fastapi.responses import StreamingResponse

        web = FastAPI()

        @web.get("/next/{name}")
        def next_one(name: str):
            note(name, "next")

        @web.get("/wait/{name}")
        def wait(name: str):
            note(name, "began")
            hold(name)

        @web.get("/stream/{name}")
        def stream(name: str):
            def pieces():
                note(name, "began")
                yield b"piece"
                hold(name)
            return StreamingResponse(pieces())

        return web

    @app.function(max_containers=1)
    @modal.wsgi_app()
    def wsgi():
        def told(name, error):
            note(name, type(error).__name__)
            hold(name)

        def pieces(name):
            note(name, "began")
            try:
                while True:
                    yield b"piece"
            except GeneratorExit as error:
                told(name, error)

        def web(environ, start_response):
            _, what, name = environ["PATH_INFO"].split("/")
            if what == "stream":
                start_response("200 OK", [])
                return pieces(name)
            if what == "next":
                note(name, "next")
            elif what == "wait":
                note(name, "began")
                hold(name)
            elif what == "upload":
                try:
                    environ["wsgi.input"].read(1)
                    note(name, "began")
                    environ["wsgi.input"].read()
                except OSError as error:
                    told(name, error)
                    raise
            start_response("200 OK", [("content-length", "0")])
            return []

        return web

    @app.function(max_containers=1)
    @modal.web_server(8000)
    def server():
        import http.server, threading

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                _, what, name = self.path.split("/")
                self.send_response(200)
                self.end_headers()
                if what == "next":
                    return
                note(name, "began")
                try:
                    while True:
                        self.wfile.write(b"piece" * 1000)
                except OSError as error:
                    note(name, "told")

        serving = http.server.ThreadingHTTPServer(("0.0.0.0", 8000), Handler)
        threading.Thread(target=serving.serve_forever, daemon=True).start()
"""


@pytest.fixture(scope="module")
def signs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where handlers write down what happens to them, and tests leave word for them."""
    return tmp_path_factory.mktemp("signs")


@pytest.fixture(scope="module")
def leavers(server: Portico, signs: Path) -> Deployed:
    return server.deploy("leavers.py", SCRIPT.replace("FOLDER", str(signs)))


class Story:
    """What happened around one request, line by line."""

    def __init__(self, signs: Path, name: str) -> None:
        self.name = name
        self._signs = signs

    @property
    def lines(self) -> list[str]:
        path = self._signs / self.name
        return path.read_text().splitlines() if path.exists() else []

    def until(self, line: str) -> None:
        until(lambda: line in self.lines, f"{line!r} in {self.lines}")

    def go_on(self) -> None:
        (self._signs / f"{self.name}-go").touch()


def call(url: str, target: str, request: str = "GET {} HTTP/1.1", body: str = "") -> socket.socket:
    """Send a request, and perhaps only the beginning of its body."""
    port = int(url.rpartition(":")[2])
    caller = socket.create_connection(("127.0.0.1", port), DEADLINE)
    length = "Content-Length: 1000\r\n" if body else ""
    caller.sendall(f"{request.format(target)}\r\nHost: localhost\r\n{length}\r\n{body}".encode())
    return caller


@pytest.mark.parametrize(
    ("function", "what", "told"),
    [
        ("asynchronous", "wait", "CancelledError"),
        ("asynchronous", "listen", "http.disconnect"),
        ("asynchronous", "upload", "ClientDisconnect"),
        ("asynchronous", "stream", "CancelledError"),
        ("asynchronous", "stubborn", "CancelledError"),
        ("asynchronous", "socket", "WebSocketDisconnect"),
        ("threaded", "wait", None),  # code that blocks cannot be told
        ("threaded", "stream", None),
        ("wsgi", "wait", None),
        ("wsgi", "upload", "ClientGone"),
        ("wsgi", "stream", "GeneratorExit"),
    ],
)
def test_handler_is_told_that_its_client_left_and_holds_its_slot_until_it_has_ended(
    leavers: Deployed, server: Portico, signs: Path, function: str, what: str, told: str | None
) -> None:
    story = Story(signs, f"{function}-{what}")
    url, target = leavers.url(function), f"/{what}/{story.name}"
    if what == "socket":
        caller = Wire(url, target).socket
    elif what == "upload":
        caller = call(url, target, "POST {} HTTP/1.1", "some")
    else:
        caller = call(url, target)
    with caller:
        story.until("began")
        if what == "stream":
            while b"piece" not in caller.recv(65536):
                pass
    if told is not None:
        story.until(told)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(get, f"{url}/next/{story.name}")
        assert get(server.web_url).status_code == 404  # by then the gateway has the other one
        assert [c["running"] for c in server.containers("leavers", function)] == [1]
        story.go_on()
        assert waiting.result().status_code == 200
    assert story.lines == ["began", *([told] if told else []), "ended", "next"]
    until(
        lambda: [c["running"] for c in server.containers("leavers", function)] == [0], "a free slot"
    )


def test_server_of_the_users_is_told_by_its_connection(
    leavers: Deployed, server: Portico, signs: Path
) -> None:
    story = Story(signs, "server-stream")
    url = leavers.url("server")
    with call(url, f"/stream/{story.name}") as caller:
        story.until("began")
        caller.recv(1)
    story.until("told")
    assert get(f"{url}/next/x").status_code == 200
    until(
        lambda: [c["running"] for c in server.containers("leavers", "server")] == [0], "a free slot"
    )


# ---- handlers that never end

STUCK = """
    import os, time
    import modal
    from fastapi import BackgroundTasks

    app = modal.App("stuck", image=IMAGE)

    @app.function(max_containers=1, timeout=1)
    @modal.fastapi_endpoint()
    def blocking(stay: bool = False):
        while stay:
            time.sleep(1)
        return os.getpid()

    @app.function(max_containers=1, timeout=1)
    @modal.fastapi_endpoint()
    async def stubborn(stay: bool = False):
        import asyncio
        while stay:
            try:
                await asyncio.sleep(1)
            except asyncio.CancelledError:
                pass
        return os.getpid()

    @app.function(max_containers=1, timeout=1)
    @modal.fastapi_endpoint()
    async def blocking_the_loop(stay: bool = False):
        while stay:
            time.sleep(1)
        return os.getpid()

    @app.function(max_containers=1, timeout=1)
    @modal.fastapi_endpoint()
    def background(work: BackgroundTasks, stay: bool = False):
        if stay:
            work.add_task(time.sleep, 3600)
        return os.getpid()

    @app.function(max_containers=1, timeout=1)
    @modal.wsgi_app()
    def wsgi():
        def web(environ, start_response):
            while "stay" in environ["QUERY_STRING"]:
                time.sleep(1)
            start_response("200 OK", [])
            return [str(os.getpid()).encode()]
        return web

    @app.function(max_containers=1, timeout=1)
    def called(stay: bool = False):
        while stay:
            time.sleep(1)
        return os.getpid()

    @app.function(max_containers=1, timeout=3)
    @modal.fastapi_endpoint()
    def stopped(stay: bool = False):
        while stay:
            time.sleep(1)
        return os.getpid()
"""
WEB = ("blocking", "stubborn", "blocking_the_loop", "background", "wsgi")


@pytest.fixture(scope="module")
def stuck(server: Portico) -> Deployed:
    return server.deploy("stuck.py", STUCK)


def test_handler_that_never_ends_costs_its_container_after_its_timeout(
    stuck: Deployed, server: Portico
) -> None:
    def ask(function: str) -> None:
        url = stuck.url(function)
        first = get(url)
        answer = get(url, params={"stay": True})
        assert answer.status_code == (200 if function == "background" else 504), function
        other = get(url)  # which waits until the container is replaced
        assert other.status_code == 200, function
        assert other.text != first.text, function

    def call_it(function: str) -> None:
        name = json.dumps(function)
        code = f"""
import portico
function = portico.Function.from_name("stuck", {name})
first = function.remote()
try:
    function.remote(stay=True)
except portico.exception.Error as error:
    assert "1 s" in str(error), error
assert function.remote() not in (first, None)
"""
        subprocess.run([sys.executable, "-c", code], env=server.env, check=True, timeout=DEADLINE)

    with ThreadPoolExecutor(len(WEB) + 1) as pool:
        done = [pool.submit(ask, function) for function in WEB] + [pool.submit(call_it, "called")]
    for future in done:
        future.result()
    reason = "container is replaced: an input went on"
    assert server.logs("stuck").count(reason) == len(done)
    assert {c["running"] for c in server.containers("stuck")} == {0}


def test_container_with_a_handler_that_never_ends_can_be_stopped(
    stuck: Deployed, server: Portico
) -> None:
    def containers() -> list[dict[str, object]]:
        return server.containers("stuck", "stopped")

    url = stuck.url("stopped")
    first = get(url).text
    with call(url, "/?stay=1"):
        until(lambda: [c["running"] for c in containers()] == [1], "a handler that stays")
        (container,) = containers()
        server("container", "stop", str(container["container_id"]))
        assert get(url).text not in (first, "")
    assert container["container_id"] not in [c["container_id"] for c in containers()]
