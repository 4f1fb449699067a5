"""Servers for clients that block the thread of the test."""

from __future__ import annotations

import contextlib
import socket
import socketserver
import threading
from collections.abc import Callable, Iterator

import uvicorn

Serving = Callable[[socket.socket], None]


@contextlib.contextmanager
def server(serve: Serving) -> Iterator[str]:
    """The URL of a server that gives each connection to `serve`, in a thread of its own."""

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with contextlib.suppress(OSError):
                serve(self.request)

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True
        request_queue_size = 64

    with Server(("127.0.0.1", 0), Handler) as listening:
        thread = threading.Thread(target=listening.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{listening.server_address[1]}"
        finally:
            listening.shutdown()
            thread.join()


@contextlib.contextmanager
def uvicorn_in_thread(app: object) -> Iterator[str]:
    """The URL of an ASGI app."""
    config = uvicorn.Config(app, port=0, lifespan="off", log_config=None, ws_ping_interval=None)  # type: ignore[arg-type]
    serving = uvicorn.Server(config)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serving.run, args=([listener],))
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            serving.should_exit = serving.force_exit = True
            thread.join()
