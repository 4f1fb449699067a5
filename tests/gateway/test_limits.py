"""The limits of SPEC §6 through a real gateway, each at its bound and one past it.

| limit | test |
|---|---|
| request body, declared | `test_a_body_of_four_gibibytes_may_be_declared_and_one_byte_more_is_413_at_once` |
| request body, counted | `test_a_body_is_counted_as_it_comes_and_one_byte_more_is_413` |
| request head | `test_a_head_of_64_kib_passes_in_any_pieces_and_one_byte_more_is_431` |
| headers | `test_256_headers_pass_and_257_are_431` |
| WebSocket message | `test_a_message_of_two_mebibytes_passes_either_way_and_one_byte_more_is_1009` |
| rate | `test_bucket.py`, `test_a_burst_of_1000_passes_and_then_200_a_second` |
| inputs that wait | `test_2000_inputs_wait_and_the_next_is_429_and_all_that_wait_are_served` |
| client connections | `test_one_connection_more_than_may_be_is_told_so_and_a_place_that_is_left_is_given_again` |
| connections to containers | `test_the_last_connection_to_a_container_is_not_waited_for`, `test_an_idle_connection_to_…` |
| time to a container, one input, silence, slow head, idle | `test_limit_times.py` |
| the other answers | `test_problems.py` |
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import resource
import socket
import time
from pathlib import Path

import h11
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from wsproto.events import BytesMessage, CloseConnection

from gateway.sockets import Socket, accept, echo
from gateway.world import DEADLINE, Connection, StandingClock, World, header, hello, run
from portico.gateway.limits import Limits
from portico.wire.manifest import Scaling

GET = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"
GIB = 1024**3
KIB = 1024
MESSAGE = 2 * 1024**2


# -- bodies


def test_a_body_of_four_gibibytes_may_be_declared_and_one_byte_more_is_413_at_once():
    async def test():
        async with World(hello) as world:
            client = await world.connect()
            client.send(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n" % (4 * GIB + 1))
            raw = await client.rest()  # before a byte of the body, and then the connection ends
            assert raw.startswith(b"HTTP/1.1 413 ")
            assert b"connection: close\r\n" in raw
            assert not world.containers
            admitted = await world.connect()
            admitted.send(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n" % (4 * GIB))
            await world.requested(1)
            assert header(world.requests[0], "content-length") == b"%d" % (4 * GIB)
            admitted.close()
            await world.idle()

    run(test)


@pytest.mark.parametrize("answering", [False, True])
def test_a_body_is_counted_as_it_comes_and_one_byte_more_is_413(answering):
    async def slowly(connection: Connection) -> None:
        await connection.request()
        if answering:
            connection.send(h11.Response(status_code=200, headers=[("content-length", "100")]))
        body = await connection.body()
        await connection.respond(b"%d" % len(body))

    async def test():
        async with World(slowly, limits=Limits(request_body=10)) as world:
            client = await world.connect()
            client.send(b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n")
            client.send(b"6\r\n123456\r\n4\r\n7890\r\n")
            await world.requested(1)
            assert world.cancelled.empty()
            if answering:
                await client.until(b"\r\n\r\n")
            client.send(b"1\r\n!\r\n")
            raw = await client.rest()
            # What has begun as something else can only be cut.
            assert raw.startswith(b"HTTP/1.1 413 ") is not answering
            assert raw == b"" or json.loads(raw.partition(b"\r\n\r\n")[2])["status"] == 413
            async with asyncio.timeout(DEADLINE):
                await world.cancelled.get()  # the handler is told, and its slot is free
            await world.idle()
            client.close()
            await world.connected(0)

    run(test)


def test_a_body_of_exactly_the_limit_passes_in_either_framing():
    async def test():
        async with World(hello, limits=Limits(request_body=10)) as world:
            client = await world.connect()
            post = b"POST / HTTP/1.1\r\nHost: h\r\n"
            client.send(post + b"Content-Length: 10\r\n\r\n1234567890")
            client.send(
                post + b"Transfer-Encoding: chunked\r\n\r\n6\r\n123456\r\n4\r\n7890\r\n0\r\n\r\n"
            )
            for _ in range(2):
                assert (await client.response())[1] == b"POST / 1234567890"

    run(test)


# -- heads


async def patient(connection: Connection) -> None:
    """As `hello`, for heads of any size: answers with the length of the target."""
    connection.h11 = h11.Connection(h11.SERVER, max_incomplete_event_size=10**6)
    while (request := await connection.request()) is not None:
        await connection.body()
        await connection.respond(b"%d" % len(request.target))


def long_target(size: int) -> bytes:
    return b"GET /%b HTTP/1.1\r\nHost: h\r\n\r\n" % (b"a" * (size - len(GET)))


def long_header(size: int) -> bytes:
    head = b"GET / HTTP/1.1\r\nHost: h\r\nX: %b\r\n\r\n"
    return head % (b"a" * (size - len(head % b"")))


def many_headers(size: int) -> bytes:
    lines = b"".join(b"X-%03d: %b\r\n" % (n, b"a" * 240) for n in range(255))
    start = b"GET / HTTP/1.1\r\nHost: %b\r\n" + lines + b"\r\n"
    return start % (b"h" * (size - len(start % b"")))


HEADS = pytest.mark.parametrize("make", [long_target, long_header, many_headers])


@HEADS
@settings(max_examples=12, deadline=None)
@given(cuts=st.lists(st.integers(1, 64 * KIB), max_size=8))
@example(cuts=[])
@example(cuts=[64 * KIB - 1])
@example(cuts=[64 * KIB])
def test_a_head_of_64_kib_passes_in_any_pieces_and_one_byte_more_is_431(make, cuts):
    async def send(world: World, head: bytes):
        client = await world.connect()
        before = 0
        for cut in (*sorted(set(cuts)), len(head)):
            client.send(head[before:cut])
            await client.writer.drain()
            await asyncio.sleep(0.001)  # so that it is read by itself
            before = cut
        return client

    async def test():
        async with World(patient) as world:
            client = await send(world, make(64 * KIB))
            head, _ = await client.response()
            assert head.status_code == 200
            client.close()
            refused = await send(world, make(64 * KIB + 1))
            raw = await refused.rest()
            assert raw.startswith(b"HTTP/1.1 431 ")
            assert b"connection: close\r\n" in raw
            assert len(world.requests) == 1

    run(test)


def test_256_headers_pass_and_257_are_431():
    async def test():
        async with World(hello) as world:
            client = await world.connect()
            client.send(b"GET / HTTP/1.1\r\nHost: h\r\n" + b"A: 1\r\n" * 255 + b"\r\n")
            assert (await client.response())[0].status_code == 200
            client.send(b"GET / HTTP/1.1\r\nHost: h\r\n" + b"A: 1\r\n" * 256 + b"\r\n")
            assert (await client.rest()).startswith(b"HTTP/1.1 431 ")
            assert len(world.requests) == 1

    run(test)


def test_trailers_are_bounded_like_a_head():
    async def test():
        async with World(hello) as world:
            for trailers, status in (
                (b"T: 1\r\n" * 256, 200),
                (b"T: 1\r\n" * 257, 431),
                (b"T: " + b"a" * 65 * KIB + b"\r\n", 431),
            ):
                client = await world.connect()
                client.send(b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n")
                client.send(b"1\r\nx\r\n0\r\n")
                await client.writer.drain()
                client.send(trailers + b"\r\n")
                assert (await client.response())[0].status_code == status
            await world.idle()

    run(test)


# -- WebSocket messages


@pytest.mark.parametrize("pieces", [1, 3])
@pytest.mark.parametrize("excess", [0, 1])
def test_a_message_of_two_mebibytes_passes_either_way_and_one_byte_more_is_1009(pieces, excess):
    def frames(sock: Socket) -> None:
        data = b"x" * (MESSAGE + excess)
        step = len(data) // pieces + 1
        for start in range(0, len(data), step):
            last = start + step >= len(data)
            sock.send(BytesMessage(data=data[start : start + step], message_finished=last))

    async def test():
        async with World(echo) as world:  # which sends it back as it came
            sock = await Socket.open(world)
            frames(sock)
            if not excess:
                assert len(await sock.message()) == MESSAGE
                sock.send(BytesMessage(data=b"and on"))
                assert await sock.message() == b"and on"
                return
            while not isinstance(event := await sock.event(), CloseConnection):
                pass
            assert event.code == 1009
            assert await asyncio.wait_for(world.closed.get(), DEADLINE) == 1009
            await world.idle()

    run(test)


@pytest.mark.parametrize("excess", [0, 1])
def test_the_fragments_of_a_containers_message_add_up(excess):
    half = b"\x02\x7f" + (MESSAGE // 2).to_bytes(8, "big") + b"x" * (MESSAGE // 2)
    rest = b"\x80\x7f" + (MESSAGE // 2 + excess).to_bytes(8, "big") + b"x" * (MESSAGE // 2 + excess)

    async def fragments(connection: Connection) -> None:
        await accept(connection, half + rest)
        while await connection.reader.read(65536):
            pass
        connection.ended()

    async def test():
        async with World(fragments) as world:
            sock = await Socket.open(world)
            if not excess:
                assert len(await sock.message()) == MESSAGE
                return
            got = 0
            while not isinstance(event := await sock.event(), CloseConnection):
                got += len(event.data)
            assert event.code == 1009
            assert got == MESSAGE // 2  # what came before the frame that was too much

    run(test)


# -- how many at once


def test_a_burst_of_1000_passes_and_then_200_a_second():
    async def test():
        async with World(hello, rate=200, burst=1000, clock=StandingClock()) as world:
            client = await world.connect()

            async def ask(count: int) -> list[int]:
                client.send(GET * count)
                answers = [await client.response() for _ in range(count)]
                for head, body in answers:
                    if head.status_code == 429:
                        assert header(head, "retry-after") == b"1"
                        assert json.loads(body)["status"] == 429
                return [head.status_code for head, _ in answers]

            assert await ask(1002) == [200] * 1000 + [429] * 2
            world.clock.now += 0.0025  # half a token
            assert await ask(1) == [429]
            world.clock.now += 0.0025
            assert await ask(2) == [200, 429]
            world.clock.now += 1
            assert await ask(202) == [200] * 200 + [429] * 2
            world.clock.now += 60
            assert await ask(1001) == [200] * 1000 + [429]

    run(test)


def test_2000_inputs_wait_and_the_next_is_429_and_all_that_wait_are_served():
    async def test():
        scaling = Scaling(max_inputs=1, max_containers=1)
        async with World(hello, scaling=scaling) as world:
            lease = await world.pool.acquire()
            clients = []
            for _ in range(2000):
                clients.append(await world.connect())
                clients[-1].send(GET)
            async with asyncio.timeout(DEADLINE):
                while world.pool.stats.waiting < 2000:
                    await asyncio.sleep(0.01)
            late = await world.connect()
            for _ in range(2):
                late.send(GET)
                head, body = await late.response()
                assert head.status_code == 429
                assert int(header(head, "retry-after")) >= 1
                assert "2000 inputs are waiting" in json.loads(body)["detail"]
            clients.pop().close()
            async with asyncio.timeout(DEADLINE):
                while world.pool.stats.waiting == 2000:
                    await asyncio.sleep(0.002)
            late.send(GET)  # takes the place that became free
            world.containers[0].report(lease.input_id)
            for client in (*clients, late):
                assert (await client.response())[0].status_code == 200
            assert len(world.requests) == 2000
            await world.idle()

    run(test)


def test_one_connection_more_than_may_be_is_told_so_and_a_place_that_is_left_is_given_again():
    async def test():
        async with World(hello, limits=Limits(connections=3)) as world:
            clients = [await world.connect() for _ in range(3)]
            await world.connected(3)
            refused = await world.connect()
            raw = await refused.rest()  # without having asked for anything
            assert raw.startswith(b"HTTP/1.1 503 ")
            assert b"retry-after: 1\r\n" in raw
            assert b"connection: close\r\n" in raw
            assert "max_connections" in json.loads(raw.partition(b"\r\n\r\n")[2])["detail"]
            refused.close()
            for client in clients:
                client.send(GET)
                assert (await client.response())[0].status_code == 200
            await world.connected(3)
            clients.pop().close()
            await world.connected(2)
            again = await world.connect()
            again.send(GET)
            assert (await again.response())[0].status_code == 200

    run(test)


def test_a_flood_of_connections_beyond_the_bound_is_dropped_without_a_word():
    async def test():
        async with World(hello, limits=Limits(connections=128)) as world:
            clients = [await world.connect() for _ in range(128)]
            await world.connected(128)
            told = [await world.connect() for _ in range(2)]
            await world.connected(130)  # neither of them hangs up
            dropped = [await world.connect() for _ in range(20)]
            for each in dropped:
                assert await each.rest() == b""
            assert world.gateway.connections <= 130
            for each in told:
                assert (await each.rest()).startswith(b"HTTP/1.1 503 ")
                each.close()
            await world.connected(128)
            clients[0].send(GET)
            assert (await clients[0].response())[0].status_code == 200

    run(test)


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="counts open files in /proc")
def test_connections_that_no_descriptor_is_left_for_are_dropped_and_the_loop_does_not_spin():
    async def test():
        async with World(hello) as world:
            loop = asyncio.get_running_loop()
            with contextlib.ExitStack() as stack:
                sockets = [stack.enter_context(socket.socket()) for _ in range(60)]
                soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
                used = max(int(name) for name in os.listdir("/proc/self/fd"))
                while stack.enter_context(socket.socket()).fileno() < used:
                    pass  # the limit is one of numbers: none below may be free
                stack.callback(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
                resource.setrlimit(resource.RLIMIT_NOFILE, (used + 20, hard))
                answers = []
                async with asyncio.timeout(DEADLINE):
                    for each in sockets:
                        each.setblocking(False)
                        await loop.sock_connect(each, ("127.0.0.1", world.port))
                        try:
                            await loop.sock_sendall(each, GET)
                            answers.append(await loop.sock_recv(each, 100))
                        except ConnectionError:
                            answers.append(b"")
                assert 5 <= sum(answer.startswith(b"HTTP/1.1 404 ") for answer in answers) <= 20
                assert answers.count(b"") >= 40
                before = time.process_time()
                await asyncio.sleep(1)
                assert time.process_time() - before < 0.5
            await world.connected(0)
            client = await world.connect()
            client.send(GET)
            assert (await client.response())[0].status_code == 200

    run(test)


def test_the_last_connection_to_a_container_is_not_waited_for():
    go = asyncio.Event()

    async def slow(connection: Connection) -> None:
        while await connection.request():
            await connection.body()
            await go.wait()
            await connection.respond()

    async def test():
        async with World(slow, limits=Limits(upstream_connections=2)) as world:
            clients = [await world.connect() for _ in range(3)]
            for client in clients[:2]:
                client.send(GET)
            await world.requested(2)
            clients[2].send(GET)
            head, body = await clients[2].response()
            assert (head.status_code, header(head, "retry-after")) == (503, b"1")
            assert "2 connections to containers" in json.loads(body)["detail"]
            assert world.pool.stats.running == 2
            go.set()
            for client in clients[:2]:
                assert (await client.response())[0].status_code == 200
            clients[2].send(GET)  # over a connection that is there now
            assert (await clients[2].response())[0].status_code == 200
            assert world.gateway.dialer.open == 2
            await world.idle()

    run(test)


def test_an_idle_connection_to_another_container_makes_room():
    async def test():
        scaling = Scaling(max_inputs=1, max_containers=2)
        async with World(hello, scaling=scaling, limits=Limits(upstream_connections=1)) as world:
            first = await world.pool.acquire()
            client = await world.connect()
            client.send(GET)  # goes to a second container
            assert (await client.response())[0].status_code == 200
            async with asyncio.timeout(DEADLINE):
                while world.pool.stats.running > 1:
                    await asyncio.sleep(0.002)
            second = await world.pool.acquire()
            assert second.member is not first.member
            world.containers[0].report(first.input_id)
            client.send(GET)  # and this one to the first
            assert (await client.response())[0].status_code == 200
            async with asyncio.timeout(DEADLINE):
                while world.gateway.dialer.open > 1:
                    await asyncio.sleep(0.002)
            world.containers[1].report(second.input_id)
            await world.idle()

    run(test)
