"""WebSockets through an ASGI app, with a client library of its own."""

from __future__ import annotations

import pytest
from driver import DEADLINE, Deployed, Portico, get
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

SOCKETS = """
    import modal

    app = modal.App("sockets", image=IMAGE)

    @app.function(allow_concurrent_inputs=10)
    @modal.asgi_app()
    def talk():
        from fastapi import FastAPI, WebSocket, WebSocketDisconnect

        web = FastAPI()

        @web.get("/version")
        async def version():
            return 1

        @web.websocket("/echo")
        async def echo(socket: WebSocket):
            await socket.accept()
            try:
                while (text := await socket.receive_text()) != "leave":
                    await socket.send_text(text[::-1])
                await socket.close(4001, "as you wish")
            except WebSocketDisconnect as end:
                print("the client closed with", end.code)

        return web
"""


def dial(url: str) -> ClientConnection:
    address = url.replace("http://", "ws://")
    return connect(f"{address}/echo", proxy=None, open_timeout=DEADLINE)


@pytest.fixture(scope="module")
def sockets(server: Portico) -> Deployed:
    return server.deploy("sockets.py", SOCKETS)


def test_messages_and_both_sides_close_codes_pass(sockets: Deployed, server: Portico) -> None:
    with dial(sockets.url("talk")) as socket:
        for text in ("tide", "x" * 100_000 + "y"):
            socket.send(text)
            assert socket.recv(DEADLINE) == text[::-1]
        socket.send("leave")
        with pytest.raises(ConnectionClosed) as closed:
            socket.recv(DEADLINE)
    assert closed.value.rcvd is not None
    assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (4001, "as you wish")

    with dial(sockets.url("talk")) as socket:
        socket.close(4002)
    server.until_logged("sockets", "the client closed with 4002")


def test_a_live_reload_closes_open_sockets_with_1012(user: Portico) -> None:
    script = user.script("sockets.py", SOCKETS)
    serve = user.begin("serve", script)
    url = serve.until(r"http://127\.0\.0\.1:\d+")[0]
    serve.until("Serving until")
    with dial(url) as socket:
        socket.send("on")
        assert socket.recv(DEADLINE) == "no"
        user.script("sockets.py", SOCKETS.replace("return 1", "return 2"))
        with pytest.raises(ConnectionClosed) as closed:
            socket.recv(DEADLINE)
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1012
    assert get(f"{url}/version").json() == 2
