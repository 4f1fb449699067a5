"""WebSockets in a Flask app, by Flask-Sock. The file is its own client.

    $ portico serve examples/websocket_flask_sock.py
    $ python examples/websocket_flask_sock.py "$URL" tide table
    TIDE
    TABLE

Each connection has a thread of its container for as long as it lasts.
"""

import sys
from typing import Any

import portico

image = portico.Image.debian_slim().pip_install("flask", "flask-sock")
app = portico.App("websocket-flask-sock", image=image)


@app.function(allow_concurrent_inputs=100)
@portico.wsgi_app()
def web() -> Any:
    from flask import Flask
    from flask_sock import Sock

    site = Flask(__name__)
    sock = Sock(site)

    @sock.route("/shout")
    def shout(socket: Any) -> None:
        while True:  # until the client closes
            socket.send(socket.receive().upper())

    return site


def main(url: str, *words: str) -> None:
    from websockets.sync.client import connect

    with connect(url.replace("http", "ws", 1) + "/shout", proxy=None) as socket:
        for word in words:
            socket.send(word)
            print(socket.recv())


if __name__ == "__main__":
    main(*sys.argv[1:])
