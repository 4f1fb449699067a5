"""uvicorn's WebSocket protocol, held to the order of events on the wire.

It parses all that has come at once: where a broken frame follows a good message it fails the connection before
the app has seen the message. Here a message reaches the app, and what the app says at once to it the client,
before the next frame is looked at. Text is checked as it comes, a close frame may come amid the frames of a message
(RFC 6455 §5.4), the app learns 1006 of a client that left without one (§7.1.5), and a client of another version is
told the one that is spoken (§4.2.2).
"""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from portico.runner.pieces import Pieces

if TYPE_CHECKING:
    from uvicorn._types import ASGIReceiveEvent, ASGISendEvent
    from websockets.http11 import Request

VERSION = "13"  # of the protocol (RFC 6455 §4.2.2)
INVALID_TEXT = 1007
ABNORMAL = 1006
EXPECTATIONS = (
    "current_size",
    "cur_size",
)  # of a continuation frame, as versions of websockets call it


class FrameByFrame(WebSocketsSansIOProtocol):
    """Feeds what it derives from one frame at a time, and none while the app has a message to look at."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._pieces = Pieces()

    def data_received(self, data: bytes) -> None:
        if not self.handshake_initiated:
            super().data_received(data)
            return
        self._pieces.feed(data)
        self._advance()

    def handle_connect(self, event: Request) -> None:
        if event.headers.get_all("Sec-WebSocket-Version") == [VERSION]:
            super().handle_connect(event)
            return
        self.handshake_initiated = self.handshake_complete = self.close_sent = True
        response = self.conn.reject(HTTPStatus.UPGRADE_REQUIRED, "this server speaks version 13\n")
        response.headers["Upgrade"] = "websocket"
        response.headers["Sec-WebSocket-Version"] = VERSION
        self.conn.send_response(response)
        self.transport.write(b"".join(self.conn.data_to_send()))
        self.transport.close()

    def _advance(self) -> None:
        while not self.read_paused and not self.transport.is_closing() and self._next():
            pass

    def _next(self) -> bool:
        """Handle one piece; False when there is none, or when the connection failed with it."""
        try:
            piece = self._pieces.next()
        except UnicodeDecodeError as error:
            self.conn.fail(INVALID_TEXT, f"{error.reason} at position {error.start}")
            self.handle_parser_exception()
            return False
        if piece is None:
            return False
        if self._pieces.interrupting_close:
            for name in EXPECTATIONS:
                if hasattr(self.conn, name):
                    setattr(self.conn, name, None)
        super().data_received(piece)
        return True

    async def receive(self) -> ASGIReceiveEvent:
        message = await super().receive()
        if self._pieces.waiting:
            self.loop.call_soon(self._advance)  # when the app has said what it says at once
        return message

    async def send(self, message: ASGISendEvent) -> None:
        await super().send(message)
        if message["type"] == "websocket.close":
            self._advance()  # the client's answer may be among what has come already

    def connection_lost(self, exc: Exception | None) -> None:
        self.read_paused = True  # a lost connection cannot be paused
        while self.conn.parser_exc is None and self._next():
            pass
        self.read_paused = False
        if self.handshake_complete and not self.close_sent:
            closed = self.conn.close_rcvd
            code, reason = (ABNORMAL, "") if closed is None else (closed.code, closed.reason)
            self.queue.put_nowait(
                {"type": "websocket.disconnect", "code": int(code), "reason": reason}
            )
        super().connection_lost(exc)
