"""WebSockets: a connection is one call of your handler, and what that keeps is the connection's own.

    $ portico serve examples/websocket_asgi.py
    $ python examples/websocket_asgi.py "$URL/sum" 3 4 5
    3
    7
    12
    $ python examples/websocket_asgi.py "$URL/sum" 8 many 9
    8
    closed with 4400: 'many' is no number

Run as a script, this file is the client, which needs `pip install websockets`; a browser would say
`new WebSocket("ws://…/sum")`. A thousand connections share a container; one more, and there are two.
"""

import sys
from typing import Any

import portico

image = portico.Image.debian_slim().pip_install("fastapi[standard]")
app = portico.App("websocket-asgi", image=image)

NOT_A_NUMBER = 4400  # 4000 to 4999 are for what an app makes of them


@app.function(allow_concurrent_inputs=1000)
@portico.asgi_app()
def web() -> Any:
    from fastapi import FastAPI, WebSocket, WebSocketDisconnect

    api = FastAPI()

    @api.websocket("/sum")
    async def add_up(socket: WebSocket) -> None:
        await socket.accept()
        total = 0
        try:
            async for text in socket.iter_text():
                total += int(text)
                await socket.send_json(total)
        except ValueError:
            await socket.close(NOT_A_NUMBER, f"{text!r} is no number")
        except WebSocketDisconnect:
            print("a client left at", total)

    return api


def talk(url: str, *numbers: str) -> None:
    from websockets.exceptions import ConnectionClosed
    from websockets.sync.client import connect

    with connect(url.replace("http", "ws", 1), proxy=None) as socket:
        try:
            for number in numbers:
                socket.send(number)
                print(socket.recv())
        except ConnectionClosed as closed:
            if closed.rcvd is not None:
                print(f"closed with {closed.rcvd.code}: {closed.rcvd.reason}")


if __name__ == "__main__":
    talk(*sys.argv[1:])
