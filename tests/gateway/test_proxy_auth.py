"""Who gets past the gateway to a web function that asks for a proxy token, and what its container sees of it."""

from __future__ import annotations

import asyncio
import hashlib
import json

import pytest

from gateway.test_websockets import HANDSHAKE, echo
from gateway.world import Client, World, header, hello, run

PAIR = b"Modal-Key: wk-1\r\nModal-Secret: ws-1\r\n"
BEARER = b"Authorization: Bearer wk-1.ws-1\r\n"
REFUSED = {
    "nothing": b"",
    "a wrong secret": b"Modal-Key: wk-1\r\nModal-Secret: ws-2\r\n",
    "an unknown key": b"Modal-Key: wk-2\r\nModal-Secret: ws-1\r\n",
    "another token's secret": b"Modal-Key: wk-1\r\nModal-Secret: ws-other\r\n",
    "a key alone": b"Modal-Key: wk-1\r\n",
    "a secret alone": b"Modal-Secret: ws-1\r\n",
    "empty values": b"Modal-Key: \r\nModal-Secret: \r\n",
    "the digest": b"Modal-Key: wk-1\r\nModal-Secret: "
    + hashlib.sha256(b"ws-1").hexdigest().encode()
    + b"\r\n",
    "a key twice": b"Modal-Key: wk-1\r\n" + PAIR,
    "a right secret behind a wrong one": b"Modal-Secret: ws-2\r\n" + PAIR,
    "a bearer token with a wrong secret": b"Authorization: Bearer wk-1.no\r\n",
    "a bearer token without a secret": b"Authorization: Bearer wk-1\r\n",
    "a bearer token twice": BEARER + BEARER,
    "a right bearer token behind a wrong one": b"Authorization: Bearer x\r\n" + BEARER,
    "another scheme": b"Authorization: Basic wk-1.ws-1\r\n",
    "half a pair beside a bearer token": b"Modal-Key: wk-1\r\n" + BEARER,
    "a pair in the wrong headers": b"X-Modal-Key: wk-1\r\nX-Modal-Secret: ws-1\r\n",
}


def with_tokens(world: World) -> World:
    world.proxy_tokens.add("wk-1", hashlib.sha256(b"ws-1").digest())
    world.proxy_tokens.add("wk-other", hashlib.sha256(b"ws-other").digest())
    return world


def get(headers: bytes, target: bytes = b"/", method: bytes = b"GET") -> bytes:
    host = b"Host: me--app-f.localhost:8400\r\n"
    return b"%b %b HTTP/1.1\r\n%b%b\r\n" % (method, target, host, headers)


async def status(client: Client, request: bytes) -> int:
    client.send(request)
    return (await client.response())[0].status_code


@pytest.mark.parametrize("headers", REFUSED.values(), ids=REFUSED)
def test_what_is_no_valid_pair_is_401_at_host_and_port_and_wakes_nothing(headers):
    async def test():
        async with World(hello, auth=True) as world:
            with_tokens(world)
            for own_port in (True, False):
                client = await world.connect(own_port)
                client.send(get(headers))
                answer, body = await client.response()
                assert answer.status_code == 401
                assert header(answer, "www-authenticate") == b"Bearer"
                assert header(answer, "content-type") == b"application/problem+json"
                detail = json.loads(body)["detail"]
                for part in ("Modal-Key", "Modal-Secret", "Bearer", "portico proxy-token create"):
                    assert part in detail
                assert b"ws-1" not in body
            assert world.containers == []

    run(test)


def test_paths_of_the_docs_and_preflights_are_no_way_around():
    async def test():
        async with World(hello, auth=True) as world:
            client = await with_tokens(world).connect()
            for target in (
                b"/docs",
                b"/openapi.json",
                b"//",
                b"/?Modal-Key=wk-1&Modal-Secret=ws-1",
            ):
                assert await status(client, get(b"", target)) == 401
            preflight = b"Origin: https://x\r\nAccess-Control-Request-Method: GET\r\n"
            assert await status(client, get(preflight, method=b"OPTIONS")) == 401
            assert world.containers == []
            assert await status(client, get(PAIR, b"/docs")) == 200

    run(test)


def test_the_token_stays_at_the_gateway_and_the_apps_own_authorization_passes():
    async def test():
        async with World(hello, auth=True) as world:
            client = await with_tokens(world).connect()
            own = b"Authorization: Basic bWU6cHc=\r\nauthorization: Digest x\r\n"
            for credentials in (
                PAIR,
                PAIR.lower(),
                BEARER,
                b"AUTHORIZATION: bearer   wk-1.ws-1\r\n",
                own + PAIR,
            ):
                assert await status(client, get(b"A: 1\r\n" + credentials + b"B: 2\r\n")) == 200
            seen = [
                [(n, v) for n, v in request.headers if n not in ADDED] for request in world.requests
            ]
            bare = [(b"a", b"1"), (b"b", b"2")]
            with_own = [
                (b"a", b"1"),
                (b"authorization", b"Basic bWU6cHc="),
                (b"authorization", b"Digest x"),
                (b"b", b"2"),
            ]
            assert seen == [bare, bare, bare, bare, with_own]

    run(test)


ADDED = {b"x-portico-input", b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-host"}
ADDED |= {b"x-request-id", b"traceparent", b"host"}


def test_a_function_that_asks_for_no_token_gets_every_header():
    async def test():
        async with World(hello) as world:
            client = await with_tokens(world).connect()
            assert await status(client, get(BEARER + PAIR)) == 200
            seen = dict(world.requests[0].headers)
            assert seen[b"authorization"] == b"Bearer wk-1.ws-1"
            assert (seen[b"modal-key"], seen[b"modal-secret"]) == (b"wk-1", b"ws-1")

    run(test)


def test_a_revoked_token_is_refused_at_the_next_request_of_a_kept_connection():
    async def test():
        async with World(hello, auth=True) as world:
            client = await with_tokens(world).connect()
            assert await status(client, get(PAIR)) == 200
            world.proxy_tokens.revoke("wk-1")
            assert await status(client, get(PAIR)) == 401
            assert await status(client, get(BEARER)) == 401
            world.proxy_tokens.replace({"wk-1": hashlib.sha256(b"ws-1").digest()})
            assert await status(client, get(PAIR)) == 200
            others = b"Modal-Key: wk-other\r\nModal-Secret: ws-other\r\n"
            assert await status(client, get(others)) == 401

    run(test)


def test_strangers_take_nothing_from_the_rate_limit():
    async def test():
        async with World(hello, auth=True, rate=0.001, burst=1) as world:
            client = await with_tokens(world).connect()
            for _ in range(5):
                assert await status(client, get(b"")) == 401
            assert await status(client, get(PAIR)) == 200
            assert await status(client, get(PAIR)) == 429
            assert await status(client, get(b"")) == 401

    run(test)


def test_a_websocket_is_opened_with_a_token_only_and_hides_it():
    async def test():
        async with World(echo, auth=True) as world:
            with_tokens(world).closed = asyncio.Queue()
            refused = await world.connect()
            assert await status(refused, HANDSHAKE) == 401  # its bearer token is the app's
            assert world.containers == []
            handshake = HANDSHAKE.removesuffix(b"\r\n")
            client = await world.connect()
            client.send(handshake + PAIR + b"\r\n")
            assert (await client.until(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")
            assert b"Authorization: Bearer t\r\n" in world.handshake
            assert b"modal-" not in world.handshake.lower()
            client.close()
            client = await world.connect()
            client.send(handshake.replace(b"Bearer t", b"Bearer wk-1.ws-1") + b"\r\n")
            assert (await client.until(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")
            assert b"authorization" not in world.handshake.lower()
            client.close()

    run(test)
