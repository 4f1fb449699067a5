"""WebSockets through the gateway: wsproto speaks on both ends."""

from __future__ import annotations

import asyncio

import pytest
from wsproto.events import BytesMessage, CloseConnection, TextMessage

from gateway.sockets import HANDSHAKE, Socket, accept, echo
from gateway.world import DEADLINE, Connection, World, hello, run
from portico.gateway.limits import Limits


def test_messages_pass_both_ways_and_the_handshake_keeps_its_headers():
    async def test():
        async with World(echo) as world:
            socket = await Socket.open(world)
            for name in (b"cookie: a=1", b"authorization: bearer t", b"get /ws?x=1 "):
                assert name in world.handshake.lower()
            socket.send(TextMessage(data="héllo"))
            assert await socket.message() == "héllo"
            socket.send(BytesMessage(data=b"\x00" * 300_000))
            assert await socket.message() == b"\x00" * 300_000
            assert world.pool.stats.running == 1
            socket.send(CloseConnection(code=4001, reason="bye"))
            assert (await socket.event()).code == 4001
            assert await world.closed.get() == 4001
            await world.idle()

    run(test)


def test_rejected_handshake_is_an_ordinary_response():
    async def reject(connection: Connection) -> None:
        await connection.reader.readuntil(b"\r\n\r\n")
        connection.raw(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno")
        connection.container.report(1)
        await hello(connection)

    async def test():
        async with World(reject) as world:
            client = await world.connect()
            client.send(HANDSHAKE)
            assert (await client.until(b"\r\n\r\nno")).startswith(b"HTTP/1.1 403 ")
            client.send(b"GET /after HTTP/1.1\r\nHost: h\r\n\r\n")
            assert (await client.response())[1] == b"GET /after "
            await world.idle()

    run(test)


def test_retired_container_closes_its_sockets_with_1012_on_both_sides():
    async def test():
        async with World(echo) as world:
            socket = await Socket.open(world)
            world.pool.members[0].retire_leases()
            assert (await socket.event()).code == 1012
            assert await world.closed.get() == 1012
            await world.idle()

    run(test)


def test_close_waits_for_the_frame_in_progress():
    go = asyncio.Event()

    async def half_a_frame(connection: Connection) -> None:
        await accept(connection, b"\x82\x04ab")
        await connection.writer.drain()
        await go.wait()
        connection.raw(b"cd")
        connection.container.report(1)
        await connection.reader.read()

    async def test():
        async with World(half_a_frame) as world:
            socket = await Socket.open(world)
            event = await socket.event()
            world.pool.members[0].retire_leases()
            go.set()
            data = event.data
            while len(data) < 4:
                data += (await socket.event()).data
            assert data == b"abcd"
            assert (await socket.event()).code == 1012

    run(test)


def test_shutdown_closes_sockets_with_1001():
    async def test():
        async with World(echo) as world:
            socket = await Socket.open(world)
            closing = asyncio.create_task(world.gateway.close(5))
            assert (await socket.event()).code == 1001
            await closing

    run(test)


@pytest.mark.parametrize("size", [1000, 1001])
def test_message_one_past_the_limit_closes_with_1009(size):
    async def test():
        async with World(echo, limits=Limits(websocket_message=1000)) as world:
            socket = await Socket.open(world)
            socket.send(BytesMessage(data=b"x" * 600, message_finished=False))
            socket.send(BytesMessage(data=b"x" * (size - 600)))
            if size <= 1000:
                assert await socket.message() == b"x" * size
                return
            event = await socket.event()
            while isinstance(event, BytesMessage):
                event = await socket.event()
            assert event.code == 1009
            await world.idle()

    run(test)


def test_client_that_vanishes_ends_its_input():
    async def test():
        async with World(echo) as world:
            socket = await Socket.open(world)
            socket.client.writer.transport.abort()
            assert await world.closed.get() is None
            await world.idle()

    run(test)


def test_silence_beyond_the_timeout_closes_and_traffic_prevents_it():
    async def test():
        async with World(echo, timeout=0.2) as world:
            socket = await Socket.open(world)
            assert (await socket.event()).code == 1001
            await world.idle()

    run(test)


def test_handshake_that_a_retired_container_accepts_is_closed_at_once():
    async def test():
        accepted = asyncio.Event()

        async def late(connection: Connection) -> None:
            await accepted.wait()
            await echo(connection)

        async with World(late) as world:
            opening = asyncio.create_task(Socket.open(world))
            async with asyncio.timeout(DEADLINE):
                while not world.pool.stats.running:
                    await asyncio.sleep(0.001)
            world.pool.members[0].drain(60)
            accepted.set()
            assert (await (await opening).event()).code == 1012

    run(test)


def test_too_big_a_message_of_the_container_closes_with_1009_and_what_came_before_passes():
    async def large(connection: Connection) -> None:
        await accept(connection, b"\x82\x02ab\x82\x7e\x03\xe9" + b"x" * 1001)
        connection.container.report(1)
        await connection.reader.read()

    async def test():
        async with World(large, limits=Limits(websocket_message=1000)) as world:
            socket = await Socket.open(world)
            assert await socket.message() == b"ab"
            assert (await socket.event()).code == 1009

    run(test)
