"""HTTP/1.1 over a container's unix socket, as the gateway speaks it: the input's number is the first header."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from portico.wire.container import Address


@dataclass
class Response:
    status: int
    headers: list[tuple[str, str]]
    body: bytes

    @property
    def ended(self) -> bool:
        """Whether the response says that its handler has ended."""
        return self.header("x-portico-ended") is not None

    def header(self, name: str) -> str | None:
        return next((v for k, v in self.headers if k == name), None)


class Exchange:
    """One connection with one request on it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def response(self) -> Response:
        head = await self.reader.readuntil(b"\r\n\r\n")
        status_line, *lines = head.decode("latin-1").split("\r\n")[:-2]
        headers = [(k.lower(), v.strip()) for k, _, v in (line.partition(":") for line in lines)]
        response = Response(int(status_line.split()[1]), headers, b"")
        length = response.header("content-length")
        if length is not None:
            response.body = await self.reader.readexactly(int(length))
        elif response.header("transfer-encoding") == "chunked":
            response.body = await self._chunks()
        return response

    async def _chunks(self) -> bytes:
        body = b""
        while size := int(await self.reader.readline(), 16):
            body += await self.reader.readexactly(size)
            await self.reader.readline()
        await self.reader.readline()
        return body

    def close(self) -> None:
        self.writer.close()


async def send(
    address: Address,
    target: str = "/",
    *,
    number: int | None = None,
    client: str = "192.0.2.1",
    scheme: str = "http",
    method: str = "GET",
    headers: tuple[str, ...] = (),
    body: bytes = b"",
) -> Exchange:
    """Send a request and return while it runs."""
    assert address.path is not None
    reader, writer = await asyncio.open_unix_connection(address.path)
    lines = [f"{method} {target} HTTP/1.1"]
    if number is not None:
        lines.append(f"x-portico-input: {number}")
        lines += [f"x-forwarded-for: {client}", f"x-forwarded-proto: {scheme}"]
        lines += ["x-forwarded-host: container"]
    lines += ["host: container", *headers]
    if body:
        lines.append(f"content-length: {len(body)}")
    writer.write("\r\n".join([*lines, "", ""]).encode("latin-1") + body)
    await writer.drain()
    return Exchange(reader, writer)


async def get(address: Address, target: str = "/", **options: object) -> Response:
    """A whole exchange."""
    exchange = await send(address, target, **options)  # type: ignore[arg-type]
    try:
        return await asyncio.wait_for(exchange.response(), 20)
    finally:
        exchange.close()
