"""The ASGI layer between uvicorn and the user's app: accounts for inputs, tells the app its real client."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from portico.runner.inputs import Input, Inputs
from portico.runner.joining import JoiningTransport
from portico.runner.tracebacks import report
from portico.runner.trailers import EXTENSION, TrailingSend
from portico.runner.websockets import OpenSocket, PeerGone, WebSockets
from portico.wire.container import INPUT_HEADER

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

TRANSPORT = "portico.transport"  # key of a scope, which the user's app does not see
SECURE = {"http": "https", "websocket": "wss"}


class InputCancelled(Exception):
    """Tells uvicorn to close the exchange of a cancelled input."""


def accounted(app: App, inputs: Inputs, websockets: WebSockets) -> App:
    """`app` with its inputs begun and ended in `inputs`. Every request passes here: keep it lean."""
    server_of = functools.lru_cache(maxsize=256)(address_of)

    async def handle(scope: Scope, receive: Receive, send: Send) -> None:
        headers: list[tuple[bytes, bytes]] = scope["headers"]
        transport: JoiningTransport | None = scope.pop(TRANSPORT, None)
        current: Input | None = None
        if headers and headers[0][0] == INPUT_HEADER:
            # The order is the gateway's promise, and what a client sends comes behind it.
            (_, digits), (_, client), (_, scheme), (_, host) = headers[:4]
            scope["client"] = (client.decode("latin-1"), 0)
            scope["server"] = server_of(host, scheme)
            if scheme == b"https":
                scope["scheme"] = SECURE[scope["type"]]
            current = inputs.begin(int(digits))
            del headers[0]
            if current is None:
                await refuse(scope, send)
                return
        try:
            if scope["type"] == "websocket":
                with websockets.opened(OpenSocket(send)) as socket:
                    await app(scope, receive, socket.send)
            elif transport is not None:
                transport.expect_head()
                scope["extensions"] = {EXTENSION: {}}
                await app(scope, receive, TrailingSend(send, transport))
            else:
                await app(scope, receive, send)
        except asyncio.CancelledError:
            if current is None or not current.cancelled:
                raise
            raise InputCancelled from None
        except PeerGone:
            raise
        except Exception as error:
            report(error)
            raise
        finally:
            if current is not None:
                # The client of a cancelled input is gone, and with it whoever would read the news.
                number = current.number
                told = (
                    transport is not None and not current.cancelled and transport.tell_end(number)
                )
                inputs.end(number, told)
            if transport is not None:
                transport.flush()

    return handle


def address_of(host: bytes, scheme: bytes) -> tuple[str, int]:
    """What a Host header says as ``scope["server"]``: name, and port or what the scheme has for one."""
    name, colon, port = host.decode("latin-1").rpartition(":")
    if colon and port.isdigit():
        return name, int(port)
    return host.decode("latin-1").removesuffix(":"), 443 if scheme == b"https" else 80


async def refuse(scope: Scope, send: Send) -> None:
    """Answer a request whose client has gone already, without running the handler."""
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1001})
        return
    headers = [(b"content-length", b"0"), (b"connection", b"close")]
    await send({"type": "http.response.start", "status": 503, "headers": headers})
    await send({"type": "http.response.body", "body": b""})
