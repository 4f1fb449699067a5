"""WebSockets on both sides of a gateway: wsproto speaks, and raw bytes where it would not say such a thing."""

from __future__ import annotations

import asyncio

import wsproto
from wsproto.events import AcceptConnection, BytesMessage, CloseConnection, Request, TextMessage

from gateway.world import DEADLINE, Client, Connection, World

HANDSHAKE = (
    b"GET /ws?x=1 HTTP/1.1\r\nHost: h\r\nConnection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    b"Sec-WebSocket-Protocol: chat\r\nCookie: a=1\r\nAuthorization: Bearer t\r\n\r\n"
)


ACCEPTED = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nSec-WebSocket-Protocol: chat\r\n\r\n"
)


async def accept(connection: Connection, first: bytes = b"") -> None:
    """Accepts the handshake; `first` goes right behind the answer. Bytes follow on `connection` as they are."""
    head = await connection.reader.readuntil(b"\r\n\r\n")
    line = next(line for line in head.split(b"\r\n") if b"x-portico-input" in line)
    connection.input_id = int(line.partition(b":")[2])
    connection.raw(ACCEPTED + first)


async def echo(connection: Connection) -> None:
    """Accepts every handshake, sends messages back, answers closes."""
    world = connection.container.world
    protocol = wsproto.WSConnection(wsproto.ConnectionType.SERVER)
    world.handshake = b""
    while not world.handshake.endswith(b"\r\n\r\n"):
        world.handshake += await connection.reader.read(65536)
    first = next(line for line in world.handshake.split(b"\r\n") if b"x-portico-input" in line)
    connection.input_id = int(first.partition(b":")[2])
    protocol.receive_data(world.handshake)
    try:
        while True:
            for event in protocol.events():
                if isinstance(event, Request):
                    answer = AcceptConnection(subprotocol=event.subprotocols[0])
                    connection.raw(protocol.send(answer))
                elif isinstance(event, TextMessage | BytesMessage):
                    connection.raw(
                        protocol.send(
                            type(event)(event.data, event.frame_finished, event.message_finished)
                        )
                    )
                elif isinstance(event, CloseConnection):
                    world.closed.put_nowait(event.code)
                    connection.raw(protocol.send(event.response()))
                    return
            data = await connection.reader.read(65536)
            if not data:
                world.closed.put_nowait(None)
                return
            protocol.receive_data(data)
    finally:
        connection.ended()


class Socket:
    """A WebSocket client on a raw connection."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.protocol = wsproto.connection.Connection(wsproto.ConnectionType.CLIENT)
        self.pending: list = []

    @classmethod
    async def open(cls, world: World) -> Socket:
        world.closed = asyncio.Queue()
        client = await world.connect()
        client.send(HANDSHAKE)
        head = await client.until(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 101 "), head
        assert b"sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" in head.lower().replace(
            b"s3pplmbitxaq9kygzzhzrbk+xoo=", b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
        )
        assert b"sec-websocket-protocol: chat" in head.lower()
        assert b"x-request-id: in-" in head
        return cls(client)

    def send(self, event) -> None:
        self.client.send(self.protocol.send(event))

    async def event(self):
        async with asyncio.timeout(DEADLINE):
            while not self.pending:
                data = await self.client.reader.read(65536)
                self.protocol.receive_data(data or None)
                self.pending = list(self.protocol.events())
        return self.pending.pop(0)

    async def message(self) -> bytes | str:
        pieces = []
        while True:
            event = await self.event()
            assert isinstance(event, TextMessage | BytesMessage), event
            pieces.append(event.data)
            if event.message_finished:
                return (b"" if isinstance(event.data, (bytes, bytearray)) else "").join(pieces)
