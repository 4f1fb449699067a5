"""``web_server`` with the servers that people put behind it.

Each on a port of its own, for machines where containers share a network.
"""

from __future__ import annotations

import gzip
import os
import re
import shutil
import signal
from pathlib import Path

import httpx
import pytest
from driver import DEADLINE, Deployed, Portico, alive, client, get, until
from playwright.sync_api import Page
from websockets.sync.client import connect

FILES = """
    import subprocess

    import modal

    app = modal.App("files")

    @app.function()
    @modal.web_server(47000)
    def files():
        subprocess.Popen("python -m http.server 47000", shell=True)
"""


def test_a_file_server_that_dies_is_replaced_before_the_next_answer(own: Portico) -> None:
    url = own.deploy("files.py", FILES).url("files")
    for _ in range(3):
        assert get(url).status_code == 200
        (container,) = own.containers("files")
        for child in descendants(container["pid"]):
            if b"http.server" in Path(f"/proc/{child}/cmdline").read_bytes():
                os.kill(child, signal.SIGKILL)
        answer = httpx.Response(0)

        def answered() -> bool:
            nonlocal answer
            answer = get(url)
            return answer.status_code == 200

        until(answered, "an answer")
        until(lambda pid=container["pid"]: not alive(pid), "the end of the container")
    assert "the server on port 47000 has ended" in own.logs("files")


def descendants(pid: int) -> list[int]:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [d for child in children for d in (int(child), *descendants(int(child)))]


def test_a_server_that_is_too_slow_or_dead_is_a_503_that_says_what_to_do(own: Portico) -> None:
    script = own.script(
        "late.py",
        """
        import modal

        app = modal.App("late")

        @app.function()
        @modal.web_server(47090, startup_timeout=0.5)
        def late():
            import subprocess
            subprocess.Popen("sleep 60", shell=True)

        @app.function()
        @modal.web_server(47090, startup_timeout=60)
        def dead():
            import subprocess
            subprocess.Popen("echo no such model >&2; exit 3", shell=True)
        """,
    )
    serve = own.begin("serve", script)
    serve.until("Serving until")
    urls = dict(re.findall(r"(late|dead)  web_server\n.*\n.*(http://127\S+)", serve.output))
    late, dead = get(urls["late"]), get(urls["dead"])
    assert late.status_code == dead.status_code == 503
    assert "listen on 0.0.0.0:47090" in late.json()["detail"]
    assert "nothing will ever listen on port 47090" in dead.json()["detail"]
    serve.until("no such model")


ASYNC_SERVERS = """
    import modal

    image = modal.Image.debian_slim().pip_install("aiohttp", "tornado")
    app = modal.App("async-servers", image=image)

    def start(program):
        import subprocess, sys, textwrap
        subprocess.Popen([sys.executable, "-c", textwrap.dedent(program)])

    @app.function(allow_concurrent_inputs=100)
    @modal.web_server(47080)
    def aio():
        start('''
            import gzip, os
            from aiohttp import web

            async def inspect(request):
                names = [name.decode() for name, _ in request.raw_headers]
                return web.json_response({"host": request.host, "names": names,
                    "client": request.headers["X-Forwarded-For"], "path": request.raw_path})

            async def away(request):
                raise web.HTTPFound("/elsewhere?x=1#there")

            async def zipped(request):
                return web.Response(body=gzip.compress(b"squeezed " * 1000), headers={
                    "Content-Encoding": "gzip", "cONTENT-tYPE": "Text/X-Odd; Charset=UTF-8"})

            async def cookies(request):
                response = web.Response(text="two")
                response.headers.add("Set-Cookie", "a=1")
                response.headers.add("Set-Cookie", "b=2")
                response.headers.add("X-Twice", "one")
                response.headers.add("X-Twice", "two")
                return response

            async def length(request):
                size = 0
                async for piece in request.content.iter_chunked(65536):
                    size += len(piece)
                return web.Response(text=str(size))

            async def stream(request):
                response = web.StreamResponse()
                await response.prepare(request)
                for number in range(3):
                    await response.write(b"%d\\\\n" % number)
                await response.write_eof()
                return response

            async def echo(request):
                socket = web.WebSocketResponse(max_msg_size=0, protocols=["mirror"])
                await socket.prepare(request)
                async for message in socket:
                    if message.data == "leave":
                        await socket.close(code=4005, message=b"left")
                    elif message.type == web.WSMsgType.TEXT:
                        await socket.send_str(message.data)
                    else:
                        await socket.send_bytes(message.data)
                return socket

            app = web.Application(client_max_size=0)
            app.add_routes([web.get("/inspect", inspect), web.get("/away", away),
                web.get("/zipped", zipped), web.get("/cookies", cookies), web.post("/length", length),
                web.get("/stream", stream), web.get("/echo", echo)])
            web.run_app(app, host="0.0.0.0", port=47080, print=None)
        ''')

    @app.function(allow_concurrent_inputs=100)
    @modal.web_server(47081)
    def whirl():
        start('''
            import asyncio, tornado.web, tornado.websocket

            class Main(tornado.web.RequestHandler):
                def get(self, name):
                    self.write({"hello": name, "address": self.request.remote_ip})

            class Echo(tornado.websocket.WebSocketHandler):
                def on_message(self, message):
                    self.write_message(message, binary=isinstance(message, bytes))

            async def main():
                app = tornado.web.Application([("/hello/(.*)", Main), ("/echo", Echo)])
                app.listen(47081, xheaders=True)
                await asyncio.Event().wait()

            asyncio.run(main())
        ''')
"""


@pytest.fixture(scope="module")
def servers(server: Portico) -> Deployed:
    return server.deploy("async_servers.py", ASYNC_SERVERS)


def test_what_a_server_reads_and_writes_passes_untouched(servers: Deployed) -> None:
    url = servers.url("aio")
    with client() as http:
        odd = {"Host": "odd.example:99", "X-Odd-Case": "1", "x-lower": "2"}
        # The port of the function's own routes whatever the Host, which the server sees as it was.
        seen = http.get(f"{url}/inspect?x=%2F&y", headers=odd).json()
        assert seen["host"] == "odd.example:99"
        assert seen["path"] == "/inspect?x=%2F&y"
        assert seen["client"] == "127.0.0.1"
        assert {"X-Odd-Case", "x-lower"} <= set(seen["names"])

        away = http.get(f"{url}/away")
        assert (away.status_code, away.headers["location"]) == (302, "/elsewhere?x=1#there")

        zipped = http.get(f"{url}/zipped")
        assert zipped.text == "squeezed " * 1000
        raw = dict(zipped.headers.raw)
        assert raw[b"cONTENT-tYPE"] == b"Text/X-Odd; Charset=UTF-8"
        with http.stream("GET", f"{url}/zipped") as response:
            assert gzip.decompress(b"".join(response.iter_raw())) == b"squeezed " * 1000

        cookies = http.get(f"{url}/cookies").headers
        assert cookies.get_list("set-cookie") == ["a=1", "b=2"]
        assert cookies.get_list("x-twice") == ["one", "two"]

        assert http.get(f"{url}/stream").text == "0\n1\n2\n"
        pieces = (b"x" * 100_000 for _ in range(50))
        assert http.post(f"{url}/length", content=pieces).text == "5000000"


@pytest.mark.parametrize("name", ["aio", "whirl"])
def test_websockets_of_a_server_echo_text_bytes_and_two_mebibytes(
    servers: Deployed, name: str
) -> None:
    url = servers.url(name).replace("http://", "ws://")
    with connect(f"{url}/echo", proxy=None, open_timeout=DEADLINE, max_size=None) as socket:
        for message in ("text", b"\0bytes", "x" * (2 << 20)):
            socket.send(message)
            assert socket.recv(DEADLINE) == message


def test_a_servers_subprotocol_and_close_reason_reach_the_client(servers: Deployed) -> None:
    url = servers.url("aio").replace("http://", "ws://")
    with connect(f"{url}/echo", proxy=None, subprotocols=["mirror"]) as socket:  # type: ignore[list-item]
        assert socket.subprotocol == "mirror"
        socket.send("leave")
        with pytest.raises(Exception, match="4005"):
            socket.recv(DEADLINE)
        assert (socket.close_code, socket.close_reason) == (4005, "left")


def test_tornado_answers(servers: Deployed) -> None:
    answer = get(f"{servers.url('whirl')}/hello/world").json()
    assert answer == {"hello": "world", "address": "127.0.0.1"}


@pytest.mark.skipif(shutil.which("node") is None, reason="needs node")
def test_a_node_server_answers(server: Portico) -> None:
    node = server.deploy(
        "node.py",
        """
        import modal

        app = modal.App("node")

        @app.function(allow_concurrent_inputs=100)
        @modal.web_server(47030)
        def hello():
            import subprocess
            program = '''
                require("http").createServer((request, response) => {
                    let size = 0
                    request.on("data", piece => size += piece.length)
                    request.on("end", () => response.end(`${request.method} ${request.url} ${size}`))
                }).listen(47030)
            '''
            subprocess.Popen(["node", "-e", program])
        """,
    )
    with client() as http:
        assert http.get(f"{node.url('hello')}/a?b=c").text == "GET /a?b=c 0"
        assert http.put(node.url("hello"), content=b"x" * 1_000_000).text == "PUT / 1000000"


@pytest.mark.timeout(400)
def test_a_streamlit_page_loads_and_its_widget_works(server: Portico, page: Page) -> None:
    page_of: str = server.deploy(
        "stream_lit.py",
        """
        import modal

        image = modal.Image.debian_slim().pip_install("streamlit>=1.40,<2")
        app = modal.App("streamlit", image=image)

        @app.function(allow_concurrent_inputs=100)
        @modal.web_server(47020, startup_timeout=60)
        def dashboard():
            import pathlib, subprocess, sys
            pathlib.Path("page.py").write_text('''if True:
                import streamlit as st
                st.title("Weather station")
                name = st.text_input("Station")
                if name:
                    st.write(f"Readings of {name.upper()}")
                if st.button("Measure"):
                    st.write("It is 21 degrees")
            ''')
            subprocess.Popen([
                sys.executable, "-m", "streamlit", "run", "page.py", "--server.port", "47020",
                "--server.address", "0.0.0.0", "--server.headless", "true",
                "--browser.gatherUsageStats", "false",
            ])
        """,
    ).url("dashboard")
    page.goto(page_of)
    page.get_by_text("Weather station").wait_for()
    page.get_by_label("Station", exact=True).fill("north")
    page.get_by_label("Station", exact=True).press("Enter")
    page.get_by_text("Readings of NORTH").wait_for()
    page.get_by_role("button", name="Measure").click()
    page.get_by_text("It is 21 degrees").wait_for()


def test_a_server_started_from_the_script_itself_finds_portico_by_both_names(
    server: Portico,
) -> None:
    itself = server.deploy(
        "itself.py",
        """
        import subprocess
        import sys

        import modal
        from modal.exception import InvalidError

        import portico

        app = modal.App("itself")

        @app.function()
        @modal.web_server(47010)
        def web():
            subprocess.Popen([sys.executable, __file__])

        if __name__ == "__main__":
            import http.server, os, pathlib

            pathlib.Path("same").write_text(f"{modal is portico} {modal.is_local()}")
            http.server.HTTPServer(("", 47010), http.server.SimpleHTTPRequestHandler).serve_forever()
        """,
    )
    assert get(f"{itself.url('web')}/same").text == "True False"
