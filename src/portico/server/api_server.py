"""The control API's HTTP server: uvicorn on our loop, hardened against strangers."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Iterator, Sequence
from typing import Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

HEAD_TIMEOUT = 10.0  # seconds for a request head, and for the rest of a body that was refused
MAX_HEAD = 64 * 1024  # bytes
STREAMS_GRACE = 1  # seconds for open answers of the API to end at shutdown


Listener = tuple[socket.socket, ssl.SSLContext | None]
"""A bound socket, and what it speaks TLS with, if it does."""


class GuardedProtocol(HttpToolsProtocol):
    """Uvicorn's protocol with bounds on what somebody without a token can hold: heads in size and in time."""

    head_timeout = HEAD_TIMEOUT

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._in_head = False
        self._head_size = 0
        self._patience: asyncio.TimerHandle | None = None
        self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._be_patient()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        cycle: RequestResponseCycle | None = self.cycle
        if self._patience is None and (cycle is None or cycle.response_complete):
            self._expect_head()
        super().data_received(data)
        if self._in_head:
            self._head_size += len(data)
            if self._head_size > MAX_HEAD:
                self.transport.abort()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_head, self._head_size = True, 0

    def on_headers_complete(self) -> None:
        self._in_head = False
        self._be_patient()
        super().on_headers_complete()

    def _expect_head(self) -> None:
        self._patience = self.loop.call_later(self.head_timeout, self.transport.abort)

    def _be_patient(self) -> None:
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None


class _Server(uvicorn.Server):
    """Signals are the business of whoever runs the loop."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class ApiServer:
    """Serves one ASGI app on several sockets."""

    def __init__(self, app: Any, listeners: Sequence[Listener]) -> None:
        self._servers: list[_Server] = []
        self._serving: list[asyncio.Task[None]] = []
        for listener, tls in listeners:
            config = uvicorn.Config(
                app,
                http=GuardedProtocol,
                lifespan="off",
                ws="none",
                log_config=None,
                log_level="error",  # what strangers send that is no HTTP is not worth a line each
                access_log=False,
                server_header=False,
                timeout_graceful_shutdown=STREAMS_GRACE,
            )
            config.load()
            config.ssl = tls
            server = _Server(config)
            self._servers.append(server)
            self._serving.append(asyncio.create_task(server.serve(sockets=[listener])))

    async def close(self) -> None:
        """Take no further requests, and wait for running ones to end. Idempotent."""
        for server in self._servers:
            server.should_exit = True
        await asyncio.gather(*self._serving)
