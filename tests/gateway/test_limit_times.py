"""The limits that are times, at the very bound: on a clock that stands still until the test moves it."""

from __future__ import annotations

import asyncio
import contextlib
import socket

import h11
import pytest
from wsproto.events import BytesMessage

from gateway.sockets import HANDSHAKE, Socket, accept, echo
from gateway.world import DEADLINE, Connection, StandingClock, World, header, hello, run
from portico.gateway import gateway
from portico.gateway.downstream import ClientConnection
from portico.gateway.tunnel import CLOSE_PATIENCE
from portico.wire.manifest import Scaling

GET = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"
MOMENT = 0.001


def test_a_head_has_ten_seconds_however_it_trickles_in():
    async def test():
        async with World(hello, clock=StandingClock()) as world:
            client, quick = await world.connect(), await world.connect()
            await world.connected(2)
            world.pass_time(0)
            client.send(b"GET / HTTP/1.1\r\n")
            await _head_begun(world)
            for letter in b"X-Slow: 1":
                client.send(bytes([letter]))
                await client.writer.drain()
                await asyncio.sleep(0.01)
                world.pass_time(1)
            world.pass_time(1 - MOMENT)
            quick.send(GET)
            assert (await quick.response())[0].status_code == 200
            assert world.gateway.connections == 2
            world.pass_time(MOMENT)
            raw = await client.rest()
            assert raw.startswith(b"HTTP/1.1 408 ")
            assert b"connection: close\r\n" in raw
            assert len(world.requests) == 1

    run(test)


async def _head_begun(world: World) -> None:
    """Wait until the gateway has the beginning of a head."""
    while all(c.deadline == world.clock.now + 75 for c in world.gateway._connections):
        await asyncio.sleep(0.002)


def test_the_second_head_of_a_connection_has_its_ten_seconds_too():
    async def test():
        async with World(hello, clock=StandingClock()) as world:
            client = await world.connect()
            client.send(GET)
            assert (await client.response())[0].status_code == 200
            world.pass_time(0)
            world.pass_time(50)
            client.send(GET[:10])
            await _head_begun(world)
            world.pass_time(10 - MOMENT)
            client.send(GET[10:])
            assert (await client.response())[0].status_code == 200
            world.pass_time(0)
            client.send(GET[:10])
            await _head_begun(world)
            world.pass_time(10)
            assert (await client.rest()).startswith(b"HTTP/1.1 408 ")

    run(test)


def test_an_idle_connection_is_closed_after_75_seconds_before_and_after_a_request():
    async def test():
        async with World(hello, clock=StandingClock()) as world:
            fresh, used = await world.connect(), await world.connect()
            used.send(GET)
            await used.response()
            await world.connected(2)
            world.pass_time(0)
            world.pass_time(75 - MOMENT)
            used.send(GET)  # which begins its time anew
            assert (await used.response())[0].status_code == 200
            world.pass_time(0)
            world.pass_time(MOMENT)
            assert await fresh.rest() == b""
            world.pass_time(75 - 2 * MOMENT)
            assert world.gateway.connections == 1
            world.pass_time(MOMENT)
            assert await used.rest() == b""
            await world.connected(0)

    run(test)


def test_the_turn_of_every_connection_comes_where_there_are_more_than_are_looked_at_in_one_go(
    monkeypatch,
):
    monkeypatch.setattr(gateway, "SLICE", 7)

    async def test():
        async with World(hello, clock=StandingClock()) as world:
            clients = [await world.connect() for _ in range(100)]
            await world.connected(100)
            async with asyncio.timeout(DEADLINE):
                while any(c.deadline != world.clock.now + 75 for c in world.gateway._connections):
                    await asyncio.sleep(0.01)
            world.clock.now += 75
            for client in clients:
                assert await client.rest() == b""
                client.close()
            await world.connected(0)

    run(test)


def test_a_function_has_its_timeout_until_the_response_head():
    async def silent(connection: Connection) -> None:
        await connection.request()
        await connection.reader.read()

    async def test():
        async with World(silent, timeout=300, clock=StandingClock()) as world:
            client = await world.connect()
            client.send(GET)
            await world.requested(1)
            world.pass_time(300 - MOMENT)
            assert world.pool.stats.running == 1
            assert world.cancelled.empty()
            world.pass_time(MOMENT)
            head, body = await client.response()
            assert (head.status_code, header(head, "content-type")) == (
                504,
                b"application/problem+json",
            )
            assert b"timeout of 300 s" in body
            assert await world.cancelled.get()
            await world.idle()

    run(test)


def test_a_response_that_has_begun_may_take_any_time_but_not_be_silent():
    async def test():
        more: asyncio.Queue[bytes] = asyncio.Queue()

        async def pieces(connection: Connection) -> None:
            await connection.request()
            await connection.body()
            connection.send(
                h11.Response(status_code=200, headers=[(b"transfer-encoding", b"chunked")])
            )
            while True:
                connection.send(h11.Data(data=await more.get()))

        async with World(pieces, timeout=300, clock=StandingClock()) as world:
            client = await world.connect()
            client.send(GET)
            for number in range(10):
                more.put_nowait(b"piece %d" % number)
                await client.until(b"piece %d" % number)
                world.pass_time(300 - MOMENT)
            world.pass_time(MOMENT)
            with pytest.raises(ConnectionResetError):
                await client.reader.read()
            assert await world.cancelled.get()
            await world.idle()

    run(test)


def test_a_client_that_does_not_read_the_end_of_its_answer_is_idle():
    async def once(connection: Connection) -> None:
        await connection.request()
        await connection.body()
        await connection.respond(bytes(200_000))
        await connection.reader.read()

    async def test():
        async with World(once, timeout=300, clock=StandingClock()) as world:
            with socket.socket() as client:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 14)
                client.connect(("127.0.0.1", world.own_port))
                await world.connected(1)
                (connection,) = world.gateway._connections
                ours = connection.transport.get_extra_info("socket")
                ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 14)
                client.sendall(GET)
                await world.requested(1)
                await world.idle()
                await _at_rest(connection)
                for _ in range(
                    3
                ):  # how much there is, that it stays so, and that it has for long enough
                    world.pass_time(75)
                await world.connected(0)

    run(test)


async def _large(connection: Connection) -> None:
    await connection.request()
    await connection.body()
    await connection.respond(bytes(24 << 20))


async def _flood(connection: Connection) -> None:
    await accept(connection)
    for _ in range(24):
        connection.raw(b"\x82\x7f" + (1 << 20).to_bytes(8) + bytes(1 << 20))
    with contextlib.suppress(ConnectionError):
        await connection.reader.read()
    connection.ended()


@pytest.mark.parametrize(("handler", "begin"), [(_large, GET), (_flood, HANDSHAKE)])
def test_a_reader_that_is_slow_is_not_taken_for_a_container_that_is_silent(handler, begin):
    async def test():
        async with World(handler, timeout=300, clock=StandingClock()) as world:
            with socket.socket() as client:
                client.setsockopt(
                    socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 15
                )  # half of what is read
                client.connect(("127.0.0.1", world.own_port))
                client.sendall(begin)
                await world.connected(1)
                (connection,) = world.gateway._connections
                await _at_rest(connection)
                for _ in range(4):
                    client.recv(1 << 17, socket.MSG_WAITALL)
                    await _at_rest(connection)
                    world.pass_time(200)
                    # A look of the gateway's own may have come before the time passed.
                    assert connection.deadline - world.clock.now in (100, 300)
                world.pass_time(connection.deadline - world.clock.now - MOMENT)
                assert not connection.closing
                world.pass_time(2 * MOMENT)
                world.pass_time(CLOSE_PATIENCE)  # for a frame that never ends
                await world.connected(0)
                await world.idle()

    run(test)


def test_a_timeout_is_told_to_a_client_that_was_slow_to_read_the_answer_before():
    size = 200_000

    async def once(connection: Connection) -> None:
        await connection.request()
        await connection.body()
        await connection.respond(bytes(size))
        await connection.request()
        await connection.reader.read()

    async def test():
        loop = asyncio.get_running_loop()
        async with World(once, timeout=300, clock=StandingClock()) as world:
            with socket.socket() as client:
                client.setblocking(False)
                client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 14)
                await loop.sock_connect(client, ("127.0.0.1", world.own_port))
                await world.connected(1)
                (connection,) = world.gateway._connections
                ours = connection.transport.get_extra_info("socket")
                ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 14)
                await loop.sock_sendall(client, GET)
                await world.requested(1)
                received = 0
                async with asyncio.timeout(DEADLINE):
                    while connection._current is not None:
                        received += len(await loop.sock_recv(client, 1 << 12))
                    for _ in range(2):
                        world.pass_time(0)  # the answer is over, and some of it not out
                    assert connection.unsent() > 0
                    world.pass_time(75 - MOMENT)
                    assert not connection.closing
                    await loop.sock_sendall(client, GET)
                    await world.requested(2)
                    while connection.unsent() or received < size:
                        received += len(await loop.sock_recv(client, 1 << 16))
                    world.pass_time(300)
                    answer = b""
                    while b"timeout of 300 s" not in answer:
                        answer = answer[-64:] + await loop.sock_recv(client, 1 << 16)
                        assert answer

    run(test)


def test_a_websocket_may_be_open_for_any_time_but_not_silent():
    async def test():
        async with World(echo, timeout=300, clock=StandingClock()) as world:
            sock = await Socket.open(world)
            for number in range(5):
                sock.send(BytesMessage(data=b"%d" % number))
                assert await sock.message() == b"%d" % number
                world.pass_time(300 - MOMENT)
            assert world.pool.stats.running == 1
            world.pass_time(MOMENT)
            assert (await sock.event()).code == 1001
            await world.idle()

    run(test)


def test_either_side_of_a_websocket_alone_keeps_it_open():
    async def test():
        heard: asyncio.Queue[bytes] = asyncio.Queue()
        say: asyncio.Queue[bytes] = asyncio.Queue()

        async def speak(connection: Connection) -> None:
            await accept(connection)
            for _ in range(2):
                heard.put_nowait(await connection.reader.readexactly(7))
            for _ in range(2):
                connection.raw(await say.get())
            await connection.reader.readexactly(1)  # of a close frame
            connection.ended()

        async with World(speak, timeout=300, clock=StandingClock()) as world:
            sock = await Socket.open(world)
            for _ in range(2):
                world.pass_time(300 - MOMENT)
                sock.send(BytesMessage(data=b"x"))
                await heard.get()
            for _ in range(2):
                world.pass_time(300 - MOMENT)
                say.put_nowait(b"\x82\x01y")
                assert await sock.message() == b"y"
            world.pass_time(300)
            assert (await sock.event()).code == 1001
            await world.idle()

    run(test)


def test_the_wait_for_a_container_is_bounded_by_startup_timeout():
    async def test():
        scaling = Scaling(max_inputs=1, max_containers=1)
        async with World(hello, scaling=scaling, startup_timeout=0.1) as world:
            lease = await world.pool.acquire()
            client = await world.connect()
            client.send(GET)
            head, body = await client.response()
            assert (head.status_code, header(head, "retry-after")) == (503, b"1")
            assert b"startup_timeout" in body
            assert (world.pool.stats.running, world.pool.stats.waiting) == (1, 0)
            world.containers[0].report(lease.input_id)
            client.send(GET)  # the connection goes on
            assert (await client.response())[0].status_code == 200
            await world.idle()

    run(test)


async def _at_rest(connection: ClientConnection) -> None:
    """Wait until the client has taken what it takes for now."""
    before = -1
    async with asyncio.timeout(DEADLINE):
        while connection.writable or before != connection.unsent(in_flight=True):
            before = connection.unsent(in_flight=True)
            await asyncio.sleep(0.05)
