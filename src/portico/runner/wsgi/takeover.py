"""Libraries that speak WebSocket by themselves, on the socket of the request that offers it.

They look for it in the environ under the key ``gunicorn.socket`` (simple-websocket, and with it Flask-Sock), read
and write on it until the conversation is over, and return without a response of WSGI's kind.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from typing import Any

SOCKET_KEY = "gunicorn.socket"
CLOSE_PATIENCE = 1.0  # seconds for the closing handshake, once the app has returned
CLOSE_FRAME = 0x88  # first byte: a close frame, final (RFC 6455 §5.2)


class TakenSocket(socket.socket):
    """A duplicate of a connection's socket, which notes what is done with it."""

    def __init__(
        self, family: int = -1, type: int = -1, proto: int = -1, fileno: int | None = None
    ) -> None:
        super().__init__(family, type, proto, fileno)
        self.used = False
        self.said_close = False
        self.closed = threading.Event()
        # A large write waits for room part by part, and a pong from the library's own thread would get in between.
        self._whole = threading.Lock()

    def send(self, data: Any, flags: int = 0) -> int:
        """All of `data`: callers that know blocking sockets do not look at the number."""
        self.sendall(data, flags)
        return memoryview(data).nbytes

    def sendall(self, data: Any, flags: int = 0) -> None:
        """As `socket.sendall`."""
        self.used = True
        view = memoryview(data).cast("B")
        self.said_close = self.said_close or (len(view) > 0 and view[0] == CLOSE_FRAME)
        with self._whole:
            super().sendall(view, flags)

    def sendmsg(self, buffers: Any, *more: Any) -> int:
        """As `socket.sendmsg`."""
        self.used = True
        with self._whole:
            return super().sendmsg(buffers, *more)

    def dup(self) -> TakenSocket:
        """As `socket.dup`; what is done with the new one is not known here."""
        self.used = True
        return super().dup()

    def detach(self) -> int:
        """As `socket.detach`."""
        self.used = True
        self.closed.set()
        return super().detach()

    def close(self) -> None:
        """As `socket.close`."""
        super().close()
        self.closed.set()


class Takeover:
    """The offer of one connection to the app, and what became of it."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._code: int | None = None
        self.socket = TakenSocket(fileno=os.dup(connection.fileno()))
        self.socket.setblocking(True)

    @property
    def used(self) -> bool:
        """Whether the app has spoken on the connection, so that HTTP is over there."""
        return self.socket.used

    async def close(self, code: int) -> None:
        """Have the app leave: it finds the end of the connection; `code` is the client's (RFC 6455 §7.4)."""
        self._code = code
        with contextlib.suppress(OSError):
            self._connection.shutdown(socket.SHUT_RD)

    def finish(self) -> None:
        """The app has returned: wait until its library has closed its side, for a moment.

        simple-websocket answers the client's close frame, or waits for the answer to its own, on a thread that
        the handler does not wait for.
        """
        if not self.used:
            self.socket.close()
            return
        self.socket.closed.wait(CLOSE_PATIENCE)
        if self._code is not None and not self.socket.said_close:
            frame = bytes((CLOSE_FRAME, 2)) + self._code.to_bytes(2, "big")
            with contextlib.suppress(OSError):
                self._connection.sendall(frame)
