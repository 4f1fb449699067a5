"""A server inside another program's process, on a loop and a thread of its own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterable
from types import TracebackType

import uvloop

from portico.server.config import HostPort, ServerSettings
from portico.server.server import Server
from portico.wire.image import ImageSpec


class EmbeddedServer:
    """Starts on entering the context, in the background; `wait_ready` blocks until it serves.

    Its addresses are the configured ones where they are free, else any: it is found by its URL, not by a
    well-known port, and a second one must not fail for the first one's sake.
    """

    def __init__(self, settings: ServerSettings | None = None) -> None:
        self._settings = settings
        self._thread = threading.Thread(target=self._run, name="portico-server", daemon=True)
        self._up = threading.Event()
        self._can_warm = threading.Event()
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
        loop, stop = self._loop, self._stop
        if loop is not None and stop is not None:
            loop.call_soon_threadsafe(stop.set)
        self._thread.join()

    def wait_ready(self) -> None:
        """Block until the server takes requests. Raises what kept it from that."""
        self._up.wait()
        if self._error is not None:
            raise self._error

    def warm(self, images: Iterable[ImageSpec]) -> None:
        """Boot the zygotes of images that are built already; may be called before the server is ready."""
        self._can_warm.wait()
        loop, server = self._loop, self._server
        if loop is not None and server is not None:
            loop.call_soon_threadsafe(server.warm, tuple(images))

    @property
    def url(self) -> str:
        """Control API of the ready server, for this machine's clients."""
        return self._ready.local_url

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
            self._loop = None
            self._can_warm.set()
            self._up.set()

    async def _serve(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        server = await self._start(self._settings or ServerSettings())
        self._up.set()
        try:
            await self._stop.wait()
        finally:
            await server.stop()

    async def _start(self, settings: ServerSettings) -> Server:
        try:
            return await self._start_at(settings)
        except OSError:
            anywhere = {
                "web": HostPort(f"{settings.web.rpartition(':')[0]}:0"),
                "api": HostPort(f"{settings.api.rpartition(':')[0]}:0"),
            }
            return await self._start_at(settings.model_copy(update=anywhere))

    async def _start_at(self, settings: ServerSettings) -> Server:
        self._server = server = Server(settings, embedded=True)
        warming = asyncio.create_task(server.can_warm.wait())
        warming.add_done_callback(lambda _: self._can_warm.set())
        try:
            await server.start()
        finally:
            warming.cancel()
        return server
