"""The query string of a request chooses its pool, and reaches the container whole."""

from __future__ import annotations

import asyncio
import dataclasses
import json

import pytest

from gateway.test_websockets import HANDSHAKE, echo
from gateway.world import DEADLINE, Client, Connection, World, header, run
from portico.wire.manifest import ParameterSpec, Scaling

PARAMETERS = (
    ParameterSpec(name="root", type="str", required=False, default="."),
    ParameterSpec(name="depth", type="int", required=False, default=1),
)
REQUIRED = (ParameterSpec(name="model", type="str"), ParameterSpec(name="seed", type="int"))


async def tell(connection: Connection) -> None:
    """Answers with the container's parameters and the target that it was asked for."""
    while (request := await connection.request()) is not None:
        answer = [connection.container.parameters, request.target.decode("latin-1")]
        await connection.respond(json.dumps(answer).encode())


async def ask(client: Client, target: bytes) -> tuple[int, object]:
    client.send(b"GET %b HTTP/1.1\r\nHost: h\r\n\r\n" % target)
    head, body = await client.response()
    return head.status_code, json.loads(body)


def test_spellings_of_the_same_values_share_a_container_and_targets_pass_as_they_came():
    async def test():
        async with World(tell, parameters=PARAMETERS) as world:
            client = await world.connect()
            for target in (
                b"/x%20y?root=%2Fa+b&page=3&depth=2",
                b"/?depth=2&root=/a%20b",
                b"/?root=%2fa%20b&depth=%2B02&root=other&tags=a;b",
            ):
                values = {"root": "/a b", "depth": 2}
                assert await ask(client, target) == (200, [values, target.decode()])
            assert len(world.containers) == 1
            for target in (b"/", b"/?depth=1&root=.", b"/?page=1"):
                assert (await ask(client, target))[1] == [
                    {"root": ".", "depth": 1},
                    target.decode(),
                ]
            assert len(world.containers) == 2

    run(test)


@pytest.mark.parametrize(
    ("query", "root"),
    [
        (b"root=%C3%BC", "ü"),
        (b"root=a%00b", "a\x00b"),
        (b"root=", ""),
        (b"root", ""),
        (b"root=%252F", "%2F"),
        (b"root=a?b", "a?b"),
    ],
)
def test_unusual_texts_reach_the_container_as_values(query, root):
    async def test():
        async with World(tell, parameters=PARAMETERS) as world:
            status, (values, target) = await ask(await world.connect(), b"/?" + query)
            assert (status, values["root"]) == (200, root)
            assert target.encode("latin-1") == b"/?" + query

    run(test)


def test_what_is_missing_or_ill_typed_gets_422_and_wakes_no_container():
    async def test():
        async with World(tell, parameters=REQUIRED) as world:
            client = await world.connect()
            for target, name in (
                (b"/", "model"),
                (b"/?model=a", "seed"),
                (b"/?model=a&seed=x", "seed"),
                (b"/?model=a&seed=", "seed"),
                (b"/?model=%FF&seed=1", "model"),
                (b"/?model=a&seed=" + b"9" * 50_000, "seed"),
            ):
                client.send(b"GET %b HTTP/1.1\r\nHost: h\r\n\r\n" % target)
                head, body = await client.response()
                assert head.status_code == 422, target
                assert header(head, "content-type") == b"application/problem+json"
                assert f"class parameter '{name}'" in json.loads(body)["detail"]
                assert len(body) < 1000
            assert world.containers == []
            assert (await ask(client, b"/?model=a&seed=1"))[0] == 200  # the connection stays usable

    run(test)


def test_a_websocket_handshake_chooses_its_pool_by_its_query():
    async def test():
        async with World(echo, parameters=PARAMETERS) as world:
            world.closed = asyncio.Queue()
            sockets = []
            for query in (b"root=a", b"x=1", b"root=a&x=2"):
                client = await world.connect()
                client.send(HANDSHAKE.replace(b"x=1", query))
                assert (await client.until(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")
                sockets.append(client)
            assert [c.parameters["root"] for c in world.containers] == ["a", "."]
            client = await world.connect()
            client.send(HANDSHAKE.replace(b"x=1", b"depth=deep"))
            assert b" 422 " in await client.until(b"\r\n\r\n")
            for each in sockets:
                each.close()

    run(test)


def test_beyond_the_bound_an_idle_pool_goes_and_a_busy_one_never():
    async def test():
        release = asyncio.Event()

        async def held(connection: Connection) -> None:
            while (request := await connection.request()) is not None:
                if b"hold" in request.target:
                    await release.wait()
                await connection.respond(json.dumps(connection.container.parameters).encode())

        async with World(
            held, parameters=PARAMETERS, max_pools=2, scaling=Scaling(max_inputs=2)
        ) as world:
            first, second = await world.connect(), await world.connect()
            first.send(b"GET /?root=a&hold HTTP/1.1\r\nHost: h\r\n\r\n")
            async with asyncio.timeout(DEADLINE):
                while not world.requests:
                    await asyncio.sleep(0.005)
            for root in (b"b", b"c", b"d"):  # each takes the place of the one before
                assert (await ask(second, b"/?root=" + root))[0] == 200
            assert [c.parameters["root"] for c in world.containers] == ["a", "b", "c", "d"]
            async with asyncio.timeout(DEADLINE):
                while [c.dead for c in world.containers] != [False, True, True, False]:
                    await asyncio.sleep(0.005)
            second.send(b"GET /?root=d&hold HTTP/1.1\r\nHost: h\r\n\r\n")
            async with asyncio.timeout(DEADLINE):
                while len(world.requests) < 5:
                    await asyncio.sleep(0.005)
            third = await world.connect()
            third.send(b"GET /?root=e HTTP/1.1\r\nHost: h\r\n\r\n")
            head, body = await third.response()
            assert head.status_code == 429
            assert int(header(head, "retry-after")) >= 1
            assert "2 combinations of class parameters" in json.loads(body)["detail"]
            release.set()
            for client, root in ((first, "a"), (second, "d")):
                head, body = await client.response()
                assert (head.status_code, json.loads(body)["root"]) == (200, root)
            assert (await ask(third, b"/?root=e"))[0] == 200

    run(test)


def test_a_request_for_a_method_that_the_next_version_lacks_is_a_404():
    async def test():
        async with World(tell) as world:
            gone = dataclasses.replace(world.endpoint, method="gone")
            world.gateway.publish("ap-1", {}, {world.own_port: gone})
            client = await world.connect()
            client.send(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
            head, body = await client.response()
            assert head.status_code == 404
            assert "no such web function" in json.loads(body)["detail"]
            await world.idle()

    run(test)
