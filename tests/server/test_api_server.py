"""The control API's HTTP server towards clients without a token: what they can hold is bounded."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest

from portico.server.api_server import MAX_HEAD, ApiServer, GuardedProtocol

DEADLINE = 10.0
GET = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"


async def refuses(scope: Any, receive: Any, send: Any) -> None:
    """Answers without reading the body, as where there is no token."""
    await send(
        {"type": "http.response.start", "status": 401, "headers": [(b"content-length", b"2")]}
    )
    await send({"type": "http.response.body", "body": b"no"})


@contextlib.asynccontextmanager
async def serving(app: Any = refuses) -> AsyncIterator[int]:
    listeners = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
    server = ApiServer(app, [(listener, None) for listener in listeners])
    try:
        yield listeners[1].getsockname()[1]
    finally:
        await server.close()


Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def connect(port: int) -> Streams:
    return await asyncio.open_connection("127.0.0.1", port)


async def trickle(streams: Streams, piece: bytes) -> bytes:
    """Send `piece` again and again until the server has enough; what it answered."""
    reader, writer = streams
    answer = asyncio.create_task(reader.read())
    async with asyncio.timeout(DEADLINE):
        while not answer.done():
            with contextlib.suppress(ConnectionError):
                writer.write(piece)
                await writer.drain()
            await asyncio.sleep(0.01)
    writer.close()
    return b"" if answer.exception() else answer.result()


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(GuardedProtocol, "head_timeout", 0.3)


@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize("before", [b"", GET], ids=["first", "second"])
@pytest.mark.parametrize("piece", [b"", b"\r\n", b"GET /", b"X: 1\r\n"])
def test_a_head_that_does_not_come_to_its_end_is_let_go(before: bytes, piece: bytes) -> None:
    async def test() -> None:
        async with serving() as port:
            streams = await connect(port)
            streams[1].write(before)
            start = b"" if piece in (b"", b"\r\n") else b"GET / HTTP/1.1\r\n"
            streams[1].write(start)
            answer = await trickle(streams, piece)
            assert answer.count(b"HTTP/1.1") <= 2

    asyncio.run(test())


@pytest.mark.usefixtures("hasty")
def test_the_rest_of_a_body_that_was_refused_is_not_read_for_ever() -> None:
    async def test() -> None:
        async with serving() as port:
            streams = await connect(port)
            streams[1].write(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 100000000\r\n\r\n")
            assert (await trickle(streams, b"x")).startswith(b"HTTP/1.1 401 ")

    asyncio.run(test())


def test_a_head_has_a_size_that_it_may_have() -> None:
    async def test() -> None:
        async with serving() as port:
            reader, writer = await connect(port)
            fits = b"X: %b\r\n" % (b"x" * (MAX_HEAD - 200))
            for _ in range(3):  # each its own
                writer.write(b"GET / HTTP/1.1\r\nHost: h\r\n")
                writer.write(fits)
                writer.write(b"\r\n")
                async with asyncio.timeout(DEADLINE):
                    assert (await reader.readuntil(b"no")).startswith(b"HTTP/1.1 401 ")
            writer.write(b"GET / HTTP/1.1\r\nHost: h\r\n")
            assert await trickle((reader, writer), b"X: %b\r\n" % (b"x" * 8000)) == b""
            # One header without an end is no different.
            reader, writer = await connect(port)
            writer.write(b"GET / HTTP/1.1\r\nX: ")
            assert await trickle((reader, writer), b"x" * 8000) == b""

    asyncio.run(test())


@pytest.mark.usefixtures("hasty")
def test_slow_bodies_and_slow_answers_of_those_who_may_are_waited_for() -> None:
    async def reads(scope: Any, receive: Any, send: Any) -> None:
        body = b""
        while True:
            message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        await asyncio.sleep(0.5)
        length = b"%d" % len(body)
        headers = [(b"content-length", length)]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def test() -> None:
        async with serving(reads) as port:
            reader, writer = await connect(port)
            writer.write(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 6\r\n\r\n")
            for piece in (b"ab", b"cd", b"ef"):
                await asyncio.sleep(0.3)
                writer.write(piece)
            async with asyncio.timeout(DEADLINE):
                assert (await reader.readuntil(b"abcdef")).startswith(b"HTTP/1.1 200 ")
            writer.close()

    asyncio.run(test())


def test_answers_do_not_say_what_serves_them() -> None:
    async def test() -> None:
        async with serving() as port:
            reader, writer = await connect(port)
            writer.write(GET)
            async with asyncio.timeout(DEADLINE):
                head = await reader.readuntil(b"\r\n\r\n")
            assert b"server:" not in head.lower()
            writer.close()

    asyncio.run(test())
