"""A server inside another program's process, on a loop and a thread of its own."""

from __future__ import annotations

import asyncio
import threading
from types import TracebackType

import uvloop

from portico.server.config import HostPort, ServerSettings
from portico.server.server import Server


class EmbeddedServer:
    """Starts on entering the context, in the background; `wait_ready` blocks until it serves.

    Its addresses are the configured ones where they are free, else any: it is found by its URL, not by a
    well-known port, and a second one must not fail for the first one's sake.
    """

    def __init__(self, settings: ServerSettings | None = None) -> None:
        self._settings = settings
        self._thread = threading.Thread(target=self._run, name="portico-server", daemon=True)
        self._up = threading.Event()
        self._stop: asyncio.Event | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._server: Server | None = None
        self._error: BaseException | None = None

    def __enter__(self) -> EmbeddedServer:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._up.wait()
        if self._loop is not None and self._stop is not None:
            self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    def wait_ready(self) -> None:
        """Block until the server takes requests. Raises what kept it from that."""
        self._up.wait()
        if self._error is not None:
            raise self._error

    @property
    def url(self) -> str:
        """Control API of the ready server."""
        return self._ready.api_url

    @property
    def web_url(self) -> str:
        """Gateway of the ready server."""
        return self._ready.web_url

    @property
    def token(self) -> str:
        """An API token for it."""
        return self._ready.token

    @property
    def _ready(self) -> Server:
        self.wait_ready()
        assert self._server is not None
        return self._server

    def _run(self) -> None:
        try:
            uvloop.run(self._serve())
        except BaseException as error:
            self._error = error
        finally:
            self._up.set()

    async def _serve(self) -> None:
        server = await self._start(self._settings or ServerSettings())
        self._loop, self._stop, self._server = asyncio.get_running_loop(), asyncio.Event(), server
        self._up.set()
        try:
            await self._stop.wait()
        finally:
            await server.stop()

    async def _start(self, settings: ServerSettings) -> Server:
        anywhere = settings.model_copy(
            update={
                "web": HostPort(f"{settings.web.rpartition(':')[0]}:0"),
                "api": HostPort(f"{settings.api.rpartition(':')[0]}:0"),
            }
        )
        server = Server(settings, embedded=True)
        try:
            await server.start()
        except OSError:
            server = Server(anywhere, embedded=True)
            await server.start()
        return server
