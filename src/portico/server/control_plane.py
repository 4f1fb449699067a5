"""Control and its API on a socket: the heavy half of a server, in a module of its own so that it is imported late."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path

import uvicorn

from portico.control.naming import Site
from portico.control.proxy_tokens import ProxyGate
from portico.control.runtime import Runtime
from portico.control.service import Control
from portico.images.base import ImageBuilder
from portico.wire.api import ServerInfo
from portico.wire.container import LogLine

STREAMS_GRACE = 1  # seconds for open answers of the API to end at shutdown


class _ApiServer(uvicorn.Server):
    """Uvicorn inside our loop: signals are the business of whoever runs the loop."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class ControlPlane:
    """The control side of one server and its HTTP API."""

    def __init__(
        self,
        *,
        state_dir: Path,
        site: Site,
        info: Callable[[], ServerInfo],
        builder: ImageBuilder,
        runtime: Runtime,
        gate: ProxyGate,
        embedded: bool,
    ) -> None:
        self._embedded = embedded
        self._control = Control(
            state_dir=state_dir,
            site=site,
            version=version("portico"),
            info=info,
            builder=builder,
            runtime=runtime,
            gate=gate,
            embedded=embedded,
        )
        self.log: Callable[[LogLine], None] = self._control.log_sink
        self.blob: Callable[[str], Path] = self._control.blob
        self._server: _ApiServer | None = None
        self._serving: asyncio.Task[None] | None = None

    async def start(self, listener: socket.socket) -> str:
        """Open the store, bring deployed apps back, take requests. Returns a token for this machine's clients."""
        await self._control.start()
        config = uvicorn.Config(
            self._control.api,
            lifespan="off",
            ws="none",
            log_config=None,
            access_log=False,
            timeout_graceful_shutdown=STREAMS_GRACE,
        )
        self._server = _ApiServer(config)
        self._serving = asyncio.create_task(self._server.serve(sockets=[listener]))
        return self._control.issue_token("embedded" if self._embedded else "local")

    async def end_streams(self) -> None:
        """Take no further requests and end the open answers, which would keep the API from ending."""
        await self._control.end_streams()
        if self._server is not None and self._serving is not None:
            self._server.should_exit = True
            await self._serving

    async def close(self) -> None:
        """Write what is pending and close the store."""
        await self._control.close()
