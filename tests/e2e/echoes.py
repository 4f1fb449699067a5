"""Servers that speak one small WebSocket protocol, one for each kind of web function that speaks WebSockets.

A connection to ``/refuse`` gets 403 and one to ``/deny`` 451, both instead of the 101; any other is accepted, with the
subprotocol "superchat" where it is offered, and a cookie. Then text and binary messages come back as they were,
but for these texts: "who" is answered with JSON about the connection, "close CODE REASON" closes it, "send N" is
answered with N random bytes, "crash" kills the server, "flood" sends without end. Its end is printed: ``closed TAG
CODE REASON``, the tag being what the query says.
"""

from __future__ import annotations

import textwrap

FUNCTIONS = """
@app.function(image=image, allow_concurrent_inputs=2000, max_containers=1)
@modal.{web}
def echo():
    return serve()

@app.function(image=image, allow_concurrent_inputs=2)
@modal.{web}
def pairs():
    return serve()

@app.function(image=image, timeout=2, allow_concurrent_inputs=10)
@modal.{web}
def brief():
    return serve()
"""

ASGI = """
import modal

app = modal.App("sockets-asgi")
image = IMAGE

def serve():
    import asyncio, json, os
    from fastapi import FastAPI, WebSocket
    from fastapi.responses import PlainTextResponse

    web = FastAPI()

    @web.get("/version")
    def version():
        return 1

    @web.websocket("/{path:path}")
    async def talk(socket: WebSocket, path: str):
        if path == "refuse":
            await socket.close()
            return
        if path == "deny":
            answer = PlainTextResponse("closed on sundays", 451, {"x-why": "sunday"})
            await socket.send_denial_response(answer)
            return
        offered = socket.scope["subprotocols"]
        chosen = "superchat" if "superchat" in offered else None
        await socket.accept(chosen, headers=[(b"set-cookie", b"seen=1")])
        while (message := await socket.receive())["type"] == "websocket.receive":
            text = message.get("text")
            word, _, rest = (text or "").partition(" ")
            if text is None:
                await socket.send_bytes(message["bytes"])
            elif word == "who":
                await socket.send_json({
                    "query": socket.url.query,
                    "cookies": socket.cookies,
                    "headers": [(name.lower(), value) for name, value in socket.headers.items()],
                    "client": socket.client.host,
                    "scheme": socket.url.scheme,
                    "pid": os.getpid(),
                    "input": modal.current_input_id(),
                })
            elif word == "close":
                code, _, reason = rest.partition(" ")
                await socket.close(int(code), reason)
                return
            elif word == "send":
                await socket.send_bytes(os.urandom(int(rest)))
            elif word == "flood":
                try:
                    while True:
                        await socket.send_bytes(bytes(65536))
                except Exception as error:
                    print("flooded", socket.url.query, flush=True)
                    raise
            elif word == "crash":
                os._exit(3)
            else:
                await socket.send_text(text)
        print("closed", socket.url.query, message["code"], message.get("reason") or "", flush=True)

    return web
"""

AIOHTTP = """
import modal

app = modal.App("sockets-aiohttp")
image = modal.Image.debian_slim().pip_install("aiohttp")

def serve():
    import subprocess, sys
    subprocess.Popen([sys.executable, __file__])

def main():
    import asyncio, json, os, signal
    from aiohttp import WSMsgType, web

    async def version(request):
        return web.json_response(1)

    async def talk(request):
        if request.path == "/refuse":
            return web.Response(status=403)
        if request.path == "/deny":
            return web.Response(text="closed on sundays", status=451, headers={"x-why": "sunday"})
        socket = web.WebSocketResponse(protocols=("superchat",), max_msg_size=0)
        socket.set_cookie("seen", "1")
        await socket.prepare(request)
        while (message := await socket.receive()).type in (WSMsgType.TEXT, WSMsgType.BINARY):
            text = message.data if message.type is WSMsgType.TEXT else None
            word, _, rest = (text or "").partition(" ")
            if text is None:
                await socket.send_bytes(message.data)
            elif word == "who":
                await socket.send_json({
                    "query": request.raw_path.partition("?")[2],
                    "cookies": dict(request.cookies),
                    "headers": [(name.lower(), value) for name, value in request.headers.items()],
                    "client": request.headers["x-forwarded-for"],
                    "scheme": request.headers["x-forwarded-proto"].replace("http", "ws"),
                    "pid": os.getpid(),
                    "input": request.headers["x-request-id"],
                })
            elif word == "close":
                code, _, reason = rest.partition(" ")
                await socket.close(code=int(code), message=reason.encode())
                return socket
            elif word == "send":
                await socket.send_bytes(os.urandom(int(rest)))
            elif word == "flood":
                try:
                    while True:
                        await socket.send_bytes(bytes(65536))
                finally:
                    print("flooded", request.query_string, flush=True)
            elif word == "crash":
                os.kill(os.getpid(), signal.SIGKILL)
            else:
                await socket.send_str(text)
        reason = message.extra if message.type is WSMsgType.CLOSE else ""
        print("closed", request.query_string, socket.close_code, reason or "", flush=True)
        return socket

    site = web.Application()
    site.add_routes([web.get("/version", version), web.get("/{path:.*}", talk)])
    web.run_app(site, host="0.0.0.0", port=8000, print=None)

if __name__ == "__main__":
    main()
"""


FLASK_SOCK = """
import modal

app = modal.App("sockets-flask")
image = modal.Image.debian_slim().pip_install("flask", "flask-sock")

def serve():
    import json, os
    from flask import Flask, Response, abort, request
    from flask_sock import Sock
    from simple_websocket import ConnectionClosed

    web = Flask(__name__)
    web.config["SOCK_SERVER_OPTIONS"] = {"subprotocols": ["superchat"]}
    sock = Sock(web)

    @web.before_request
    def refuse():
        if request.path == "/refuse":
            abort(403)
        if request.path == "/deny":
            return Response("closed on sundays", 451, {"x-why": "sunday"})

    @web.get("/version")
    def version():
        return "1"

    @sock.route("/talk")
    def talk(socket):
        query = request.query_string.decode()
        try:
            while True:
                data = socket.receive()
                word, _, rest = (data if isinstance(data, str) else "").partition(" ")
                if word == "who":
                    socket.send(json.dumps({
                        "query": query,
                        "cookies": dict(request.cookies),
                        "headers": [
                            (name.lower(), one)
                            for name, value in request.headers.items()
                            for one in value.split(",")  # WSGI joins what is repeated
                        ],
                        "client": request.remote_addr,
                        "scheme": request.scheme.replace("http", "ws"),
                        "pid": os.getpid(),
                        "input": modal.current_input_id(),
                    }))
                elif word == "close":
                    code, _, reason = rest.partition(" ")
                    socket.close(int(code), reason)
                elif word == "send":
                    socket.send(os.urandom(int(rest)))
                elif word == "flood":
                    try:
                        while True:
                            socket.send(bytes(65536))
                    finally:
                        print("flooded", query, flush=True)
                elif word == "crash":
                    os._exit(3)
                else:
                    socket.send(data)
        except ConnectionClosed as end:
            print("closed", query, int(end.reason), end.message or "", flush=True)

    return web
"""


def script(source: str, web: str) -> str:
    """A whole script: the functions behind what they serve."""
    head, main, tail = source.partition('\nif __name__ == "__main__"')
    return textwrap.dedent(head + FUNCTIONS.replace("{web}", web) + main + tail)


ECHOES = {
    "asgi": ("sockets-asgi", script(ASGI, "asgi_app()")),
    "wsgi": ("sockets-flask", script(FLASK_SOCK, "wsgi_app()")),
    "web_server": ("sockets-aiohttp", script(AIOHTTP, "web_server(8000, startup_timeout=30)")),
}
"""The app's name and its script, by kind."""
