"""The container's end of its control socket."""

from __future__ import annotations

import asyncio
import os
import select
import signal
import socket
import threading
from collections.abc import Callable
from typing import cast

import msgspec

from portico.wire.container import (
    Call,
    Cancel,
    Failed,
    FromContainer,
    Probe,
    Start,
    ToContainer,
)
from portico.wire.frames import FrameDecoder, frame

Handler = Callable[["Cancel | Probe | Call"], None]


def receive_start(control: socket.socket) -> Start:
    """Wait for the first frame. The sandbox sends no other before `Ready`. Raises EOFError."""
    decoder = FrameDecoder()
    while True:
        data = control.recv(1 << 20)
        if not data:
            raise EOFError("the sandbox hung up before it said what to start")
        for body in decoder.feed(data):
            return msgspec.msgpack.decode(body, type=Start)


def send_failed(control: socket.socket, failed: Failed) -> None:
    """Say why this container will not be ready, before there is an event loop to say it with."""
    control.sendall(frame(msgspec.msgpack.encode(failed)))


def die_with(control: socket.socket) -> None:
    """End this container's processes when the sandbox hangs up, whatever the main thread is doing.

    For systems that cannot signal the death of a parent.
    """

    def watch() -> None:
        poller = select.poll()
        poller.register(control.fileno(), select.POLLHUP)
        poller.poll()
        kill_own_group()

    threading.Thread(target=watch, name="portico-control", daemon=True).start()


def kill_own_group() -> None:
    """SIGKILL to every process of this container's group, itself included."""
    os.killpg(0, signal.SIGKILL)


class Control(asyncio.Protocol):
    """Frames to and from the sandbox on the event loop. Losing it ends the container."""

    def __init__(self, handle: Handler) -> None:
        self._handle = handle
        self._transport: asyncio.WriteTransport | None = None
        self._decoder = FrameDecoder()
        self._messages = msgspec.msgpack.Decoder(ToContainer)
        self._encode = msgspec.msgpack.Encoder().encode
        self._closing = False
        self._closed = asyncio.Event()

    async def connect(self, control: socket.socket) -> None:
        """Take `control` over."""
        loop = asyncio.get_running_loop()
        await loop.create_unix_connection(lambda: self, sock=control)

    def send(self, message: FromContainer) -> None:
        """Send, in order. What does not fit into the socket's buffer waits in the transport's."""
        if self._transport is not None:
            self._transport.write(frame(self._encode(message)))

    async def close(self) -> None:
        """Hang up when everything sent is on its way."""
        self._closing = True
        if self._transport is not None:
            self._transport.close()
            await self._closed.wait()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.WriteTransport, transport)

    def data_received(self, data: bytes) -> None:
        for body in self._decoder.feed(data):
            message = self._messages.decode(body)
            if not isinstance(message, Start):
                self._handle(message)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._closed.set()
        if not self._closing:
            kill_own_group()
