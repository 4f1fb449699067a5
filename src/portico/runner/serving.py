"""uvicorn's protocol classes on a unix socket of ours: no server object, no signal handlers, no lifespan.

Images bring their own uvicorn when the user pins one, so this relies on little: `Config`, `ServerState` and
the constructor of the protocol class, unchanged since 0.21.
"""

from __future__ import annotations

import asyncio
import importlib
import logging
from email.utils import formatdate
from typing import Any, cast

from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from portico.runner.asgi import TRANSPORT, App, accounted
from portico.runner.inputs import Inputs
from portico.runner.joining import JoiningTransport
from portico.runner.lifespan import Lifespan
from portico.runner.websockets import WebSockets
from portico.wire.container import INPUT_HEADER, Address, StartPhase

KEEP_ALIVE = 30 * 24 * 3600  # seconds; the gateway decides how long idle connections live
BACKLOG = 2048
WS_MAX_SIZE = 16 << 20  # bytes after inflation; the gateway bounds what is on the wire to 2 MiB
WS_PROTOCOLS = (
    "portico.runner.websocket_protocol:FrameByFrame",
    "uvicorn.protocols.websockets.websockets_impl:WebSocketProtocol",
    "uvicorn.protocols.websockets.wsproto_impl:WSProtocol",
)


class AsgiEndpoint:
    """One ASGI app on one unix socket."""

    startup_phase: StartPhase = "lifespan"

    def __init__(self, app: App, inputs: Inputs, websockets: WebSockets) -> None:
        self._lifespan = Lifespan(app)
        self._inputs = inputs
        self._config = uvicorn_config(accounted(app, inputs, websockets))
        self._state = ServerState()
        self._server: asyncio.AbstractServer | None = None
        self._clock: asyncio.TimerHandle | None = None

    async def startup(self) -> None:
        """Lifespan startup. Raises what the app raises."""
        await self._lifespan.startup()

    async def listen(self, path: str) -> Address:
        """Take requests at the unix socket `path`."""
        loop = asyncio.get_running_loop()
        self._tell_time(loop)
        self._server = await loop.create_unix_server(self._protocol, path, backlog=BACKLOG)
        return Address(path=path)

    def refuse_new(self) -> None:
        """Close the listener and idle connections; running exchanges end with ``Connection: close``."""
        if self._server is not None:
            self._server.close()
        for connection in list(self._state.connections):
            connection.shutdown()

    async def shutdown(self) -> None:
        """Lifespan shutdown, when no input runs any more."""
        if self._clock is not None:
            self._clock.cancel()
        await self._lifespan.shutdown()

    def _protocol(self) -> asyncio.Protocol:
        return _Protocol(self._config, self._state, self._lifespan.state, self._inputs)

    def _tell_time(self, loop: asyncio.AbstractEventLoop) -> None:
        self._state.default_headers = [(b"date", formatdate(usegmt=True).encode())]
        self._clock = loop.call_later(1.0, self._tell_time, loop)


class _Protocol(HttpToolsProtocol):
    """uvicorn's HTTP/1.1 protocol, which also reports inputs whose request never reaches the app."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        inputs: Inputs,
    ) -> None:
        super().__init__(config=config, server_state=server_state, app_state=app_state)
        self._inputs = inputs

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        joining = JoiningTransport(cast(asyncio.Transport, transport), self.loop)
        super().connection_made(cast(asyncio.Transport, joining))

    def on_message_begin(self) -> None:
        super().on_message_begin()
        cast("dict[str, Any]", self.scope)[TRANSPORT] = self.transport

    def on_headers_complete(self) -> None:
        super().on_headers_complete()
        if not self.parser.should_upgrade():
            self.headers = []  # of the trailers, which are no headers (RFC 9110 §6.5)

    def send_400_response(self, msg: str) -> None:
        super().send_400_response(msg)
        self._not_handled(self.headers or [])

    def handle_websocket_upgrade(self) -> None:
        headers = self.headers
        super().handle_websocket_upgrade()
        if self.transport.is_closing():  # a handshake that RFC 6455 §4.2.1 refuses
            self._not_handled(headers)

    def _not_handled(self, headers: list[tuple[bytes, bytes]]) -> None:
        if headers and headers[0][0] == INPUT_HEADER:
            number = int(headers[0][1])
            if number not in self._inputs.running:
                self._inputs.report(number)


def uvicorn_config(app: App) -> Config:
    """A loaded configuration that leaves everything around the protocol to the container."""
    config = Config(
        app=app,
        http="httptools",
        ws=_websocket_protocol(),  # type: ignore[arg-type]
        ws_max_size=WS_MAX_SIZE,
        # The gateway bounds silence on a WebSocket; a ping would look like traffic to it.
        ws_ping_interval=None,
        ws_ping_timeout=None,
        ws_per_message_deflate=True,
        interface="asgi3",
        lifespan="off",
        log_config=None,
        log_level="warning",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE,
    )
    config.load()
    logging.getLogger("uvicorn.error").addFilter(_not_an_app_exception)
    return config


def _not_an_app_exception(record: logging.LogRecord) -> bool:
    # The container prints those itself, trimmed; uvicorn would print each a second time.
    return not str(record.msg).startswith("Exception in ASGI application")


def _websocket_protocol() -> type[asyncio.Protocol] | None:
    """The best WebSocket implementation that the image's uvicorn and libraries have."""
    for name in WS_PROTOCOLS:
        module, _, attribute = name.partition(":")
        try:
            found: type[asyncio.Protocol] = getattr(importlib.import_module(module), attribute)
        except (ImportError, AttributeError):
            continue
        return found
    return None
