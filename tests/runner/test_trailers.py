"""What an ASGI app learns of the address it was asked at, and the trailers it may answer with."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from containers import DEADLINE, Machine, address, run
from exchanges import send
from portico.runner.asgi import address_of
from portico.runner.trailers import line_of
from portico.wire.image import ImageEnvironment

APP = """
    import portico
    app = portico.App("tests")

    async def raw(scope, receive, send):
        async def end(*headers, more=False):
            await send({
                "type": "http.response.trailers", "headers": headers, "more_trailers": more
            })

        path = scope["path"]
        assert scope["extensions"] == {"http.response.trailers": {}}
        headers = [(b"content-length", b"4")] if path == "/sized" else []
        await send({
            "type": "http.response.start", "status": 200, "headers": headers,
            "trailers": path != "/none",
        })
        await send({"type": "http.response.body", "body": b"bo", "more_body": True})
        await send({"type": "http.response.body", "body": b"dy"})
        if path == "/bad":
            await end((b"x", b"1\\r\\ny: 2"))
        if path != "/none":
            await end((b"x-sum", b"12"), more=True)
            await end((b"x-sum", b"34"), (b"x-end", repr(scope["server"]).encode()))

    @app.function()
    @portico.asgi_app()
    def f():
        return raw
"""


def test_trailers_follow_the_body_of_a_response_that_announces_them(
    tmp_path: Path, bare: ImageEnvironment
) -> None:
    async def main() -> None:
        async with Machine(tmp_path) as machine:
            _, watcher = await machine.ready(bare, APP, kind="asgi_app")
            exchange = await send(address(watcher), "/", number=1)
            head = await exchange.reader.readuntil(b"\r\n\r\n")
            assert b"transfer-encoding: chunked" in head
            rest = await exchange.reader.readuntil(b"x-end: ('container', 80)\r\n\r\n")
            assert rest.startswith(b"2\r\nbo\r\n2\r\ndy\r\n0\r\nx-sum: 12\r\nx-sum: 34\r\n")
            exchange.close()
            for number, (target, method, body) in enumerate(
                [("/none", "GET", b"body"), ("/sized", "GET", b"body"), ("/", "HEAD", b"")], 2
            ):
                exchange = await send(address(watcher), target, number=number, method=method)
                head = await exchange.reader.readuntil(b"\r\n\r\n")
                exchange.writer.write(b"GET /none HTTP/1.1\r\nhost: a\r\n\r\n")
                rest = await exchange.reader.readuntil(b"HTTP/1.1 200")
                assert b"x-sum" not in rest
                assert body.replace(b"bo", b"") in rest
                exchange.close()

    run(main())


def test_a_trailer_that_would_be_more_than_one_ends_the_response_unfinished(
    tmp_path: Path, bare: ImageEnvironment
) -> None:
    async def main() -> None:
        async with Machine(tmp_path) as machine:
            _, watcher = await machine.ready(bare, APP, kind="asgi_app")
            exchange = await send(address(watcher), "/bad", number=1)
            rest = await asyncio.wait_for(exchange.reader.read(), DEADLINE)
            assert rest.endswith(b"2\r\nbo\r\n2\r\ndy\r\n")
            exchange.close()
            await machine.logs.until("is no trailer")

    run(main())


@pytest.mark.parametrize("trailer", [(b"a b", b"1"), (b"", b"1"), (b"a", b"1\n"), (b"a:", b"1")])
def test_what_is_no_trailer_is_refused(trailer: tuple[bytes, bytes]) -> None:
    with pytest.raises(ValueError, match="is no trailer"):
        line_of(*trailer)


@pytest.mark.parametrize(
    ("host", "scheme", "server"),
    [
        (b"a.example", b"http", ("a.example", 80)),
        (b"a.example", b"https", ("a.example", 443)),
        (b"a.example:8400", b"https", ("a.example", 8400)),
        (b"a.example:", b"http", ("a.example", 80)),
        (b"[::1]", b"http", ("[::1]", 80)),
        (b"[::1]:81", b"http", ("[::1]", 81)),
        (b"", b"http", ("", 80)),
    ],
)
def test_the_server_is_the_one_that_the_client_asked_for(
    host: bytes, scheme: bytes, server: tuple[str, int]
) -> None:
    assert address_of(host, scheme) == server
