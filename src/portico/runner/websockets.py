"""Open WebSockets, so that a container that has to end can close them (1001)."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from typing import Any, Protocol

Message = MutableMapping[str, Any]


class PeerGone(ConnectionError):
    """The other side of a WebSocket is gone; frameworks know the OSError it is."""


class Closable(Protocol):
    """A WebSocket that the container can close."""

    async def close(self, code: int) -> None:
        """Close with `code`, if it is open."""


class OpenSocket:
    """The sending side of one WebSocket, shared by the app and the container."""

    def __init__(self, send: Callable[[Message], Awaitable[None]]) -> None:
        self._send = send
        self._accepted = False
        self._closed = False

    async def send(self, message: Message) -> None:
        """ASGI ``send``. Raises `PeerGone` for a lost peer and once the container has closed the socket."""
        if self._closed and message["type"] == "websocket.send":
            raise PeerGone("the WebSocket has been closed")
        try:
            await self._send(message)
        except OSError as error:
            raise PeerGone("the WebSocket's peer is gone") from error
        if message["type"] == "websocket.accept":
            self._accepted = True

    async def close(self, code: int) -> None:
        """Close an accepted socket with `code`; the app receives ``websocket.disconnect``."""
        if not self._accepted:
            return
        self._closed = True
        with contextlib.suppress(OSError, RuntimeError):  # closed by the peer or the app just now
            await self._send({"type": "websocket.close", "code": code})


class WebSockets:
    """Every open WebSocket of the container."""

    def __init__(self) -> None:
        self._open: set[Closable] = set()

    def add(self, socket: Closable) -> None:
        """`socket` may be open from here on."""
        self._open.add(socket)

    def discard(self, socket: Closable) -> None:
        """`socket` is closed."""
        self._open.discard(socket)

    @contextlib.contextmanager
    def opened(self, socket: OpenSocket) -> Iterator[OpenSocket]:
        """`socket` belongs to the open ones inside the block."""
        self.add(socket)
        try:
            yield socket
        finally:
            self.discard(socket)

    async def close(self, code: int) -> None:
        """Close all of them with `code` (RFC 6455 §7.4)."""
        await asyncio.gather(*(socket.close(code) for socket in self._open))
