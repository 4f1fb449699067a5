"""Bytes between a unix socket, where the gateway dials, and the port of a server in the container."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import Callable
from typing import cast

BACKLOG = 2048
HIGH_WATER = 256 * 1024  # bytes of unsent data at which the other side is paused
QUICK_ACK: int | None = getattr(socket, "TCP_QUICKACK", None)  # Linux's
SMALL = 16 * 1024  # bytes; what comes in larger pieces does not wait for acknowledgements

Target = tuple[str, int]


class Relay:
    """Takes connections at a unix socket and passes each on to one of its own to `target`, a host and a port.

    `refused` is called when the target accepts no connection; the one that waited for it is closed.
    """

    def __init__(self, target: Target, refused: Callable[[], None]) -> None:
        self.target = target
        self.refused = refused
        self.fronts: set[Front] = set()
        self._server: asyncio.AbstractServer | None = None

    async def listen(self, path: str) -> None:
        """Take connections at `path`."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_unix_server(lambda: Front(self), path, backlog=BACKLOG)

    def close(self) -> None:
        """Take no more, and end those that are there."""
        if self._server is not None:
            self._server.close()
        for front in tuple(self.fronts):
            front.close()


class Side(asyncio.Protocol):
    """One end of a relayed connection: what it reads the other writes, no faster than that can send.

    An end of stream ends both: the gateway closes a connection only when its exchange is over, and an HTTP server
    only when it has said everything.
    """

    def __init__(self) -> None:
        self.other: Side | None = None
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.transport.set_write_buffer_limits(high=HIGH_WATER)

    def data_received(self, data: bytes) -> None:
        if self.other is not None and self.other.transport is not None:
            self.other.transport.write(data)

    def pause_writing(self) -> None:
        if self.other is not None and self.other.transport is not None:
            self.other.transport.pause_reading()

    def resume_writing(self) -> None:
        other = self.other
        if other is not None and other.transport is not None and not other.transport.is_closing():
            other.transport.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        if exc is not None and self.other is not None:
            self._pass_last_words()
        self.transport = None
        if self.other is not None:
            self.other.other = None
            self.other.end(broken=exc is not None)
            self.other = None

    def _pass_last_words(self) -> None:
        """Pass on what came before this side closed on what it was sent, such as an early answer.

        The loop gives a connection up when writing to it fails, with that unread.
        """
        assert self.transport is not None
        descriptor = self.transport.get_extra_info("socket").fileno()
        with contextlib.suppress(OSError):  # nothing came, or the connection was reset
            while data := os.read(descriptor, HIGH_WATER):
                self.data_received(data)

    def end(self, broken: bool) -> None:
        """The other side is gone; `broken` says that it did not end in order."""
        if self.transport is None:
            return
        if broken:
            self.transport.abort()
        else:
            self.transport.close()


class Front(Side):
    """The gateway's side. What it says before the server has accepted the other side waits."""

    def __init__(self, relay: Relay) -> None:
        super().__init__()
        self._relay = relay
        self._early = bytearray()
        self._dialling: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._relay.fronts.add(self)
        self._dialling = asyncio.get_running_loop().create_task(self._dial())

    def data_received(self, data: bytes) -> None:
        if self.other is not None:
            super().data_received(data)
            return
        # Read on as long as it is little: a gateway that has given up is noticed by its end of stream alone, and
        # a server with a full backlog accepts, or is given up, only after minutes.
        self._early += data
        if len(self._early) > HIGH_WATER and self.transport is not None:
            self.transport.pause_reading()

    async def _dial(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            await loop.create_connection(lambda: Back(self), *self._relay.target)
        except ConnectionRefusedError:
            self._relay.refused()
            self.close()
        except OSError:  # too many open files, and the like: a fault of this connection only
            self.close()
        finally:
            self._dialling = None

    def accepted(self, back: Back) -> None:
        """The server has accepted `back`: from here on each side's words are the other's."""
        if self.transport is None or self.transport.is_closing():
            back.end(broken=False)
            return
        self.other, back.other = back, self
        if self._early:
            early, self._early = bytes(self._early), bytearray()
            self.transport.resume_reading()
            super().data_received(early)  # which pauses it again where the server is slow to read

    def connection_lost(self, exc: Exception | None) -> None:
        self._relay.fronts.discard(self)
        if self._dialling is not None:
            self._dialling.cancel()
        super().connection_lost(exc)

    def end(self, broken: bool) -> None:
        """The server is gone: what it said is sent on, however it went."""
        self.close()

    def close(self) -> None:
        """Send what is buffered, then close."""
        if self.transport is not None:
            self.transport.close()


class Back(Side):
    """The server's side. It may speak before whoever dialled is told that it was accepted."""

    def __init__(self, front: Front) -> None:
        super().__init__()
        self._front = front

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._socket = transport.get_extra_info("socket")
        self._front.accepted(self)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if QUICK_ACK is not None and len(data) < SMALL:
            # A server that writes head and body apart, without TCP_NODELAY, sends the body only once the head is
            # acknowledged, for which the kernel takes 40 ms unless asked (tcp(7)); the answer lasts for one ACK.
            self._socket.setsockopt(socket.IPPROTO_TCP, QUICK_ACK, 1)
