"""Clients that send so slowly that each of them would hold a place for ever."""

from __future__ import annotations

import asyncio
import resource
import socket
import struct
import time

import pytest

from gateway.table import Table
from gateway.world import DEADLINE, Client, Connection, World, run
from portico.gateway.limits import Limits
from portico.wire.manifest import Scaling

HEADS = 1500
BODIES = 500
GET = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"


def enough_files(count: int) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < count:
        if hard != resource.RLIM_INFINITY and hard < count:
            pytest.skip(f"needs {count} open files, and this machine allows {hard}")
        resource.setrlimit(resource.RLIMIT_NOFILE, (count, hard))


def reset(client: Client) -> None:
    """Leave at once, and leave no port behind that nobody can have for a minute."""
    connection = client.writer.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.writer.transport.abort()


def test_two_thousand_trickling_connections_do_not_slow_others():
    """One byte a second each, as a slowloris does it, a twentieth of them at a time."""
    enough_files(3 * (HEADS + BODIES))

    async def answer(connection: Connection) -> None:
        while await connection.request() is not None:
            await connection.body()
            await connection.respond(b"ok")

    async def ask(client: Client, count: int) -> float:
        """The slowest of `count` requests, in seconds."""
        slowest = 0.0
        for _ in range(count):
            before = time.perf_counter()
            client.send(GET)
            head, _ = await client.response()
            assert head.status_code == 200
            slowest = max(slowest, time.perf_counter() - before)
        return slowest

    async def trickle(clients: list[Client], endless: bytes) -> None:
        turn = 0
        while True:
            for client in clients[turn % 20 :: 20]:
                if not client.writer.is_closing():
                    client.send(endless)
            turn += 1
            await asyncio.sleep(0.05)

    async def test():
        scaling = Scaling(max_inputs=1000, max_containers=1)
        limits = Limits(head_timeout=2.0)
        async with World(answer, limits=limits, scaling=scaling) as world:
            normal = await world.connect()
            await ask(normal, 200)
            bodies = [await world.connect() for _ in range(BODIES)]
            for client in bodies:
                client.send(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 100000\r\n\r\n")
            heads = [await world.connect() for _ in range(HEADS)]
            for client in heads:
                client.send(b"GET / HTTP/1.1\r\nHost: h\r\nX: ")
            trickling = [
                asyncio.create_task(trickle(bodies, b"x")),
                asyncio.create_task(trickle(heads, b"x")),
            ]
            slowest = await ask(normal, 200)
            assert slowest < DEADLINE / 5, "of 200 requests beside the tricklers"
            async with asyncio.timeout(DEADLINE):
                answers = await asyncio.gather(*(client.until(b"\r\n\r\n") for client in heads))
            assert {answer[:13] for answer in answers} == {b"HTTP/1.1 408 "}
            await ask(normal, 200)
            assert world.pool.stats.running == BODIES
            for task in trickling:
                task.cancel()
            for client in (normal, *heads, *bodies):
                reset(client)
            await world.idle()
            assert world.pool.stats.waiting == 0
            async with asyncio.timeout(DEADLINE):
                while world.gateway.connections:
                    await asyncio.sleep(0.01)

    run(test)


@pytest.mark.parametrize("before", [b"", GET], ids=["first request", "second request"])
def test_time_for_a_head_runs_from_its_first_byte_however_many_follow(before: bytes):
    table = Table(Limits(head_timeout=10.0))
    clock = table.loop.clock
    conversation = table.connect()
    client, transport = conversation.client, conversation.transport
    if before:
        conversation.send(before)
        transport.written.clear()
    client.look_at_clock(clock.now)
    clock.advance(5)  # between requests another patience counts
    client.look_at_clock(clock.now)
    conversation.send(b"GET / HTTP/1.1\r\nX: ")
    for _ in range(19):
        clock.advance(0.5)
        conversation.send(b"x")
        client.look_at_clock(clock.now)
        assert not transport.written
    clock.advance(0.5)
    conversation.send(b"x")
    client.look_at_clock(clock.now)
    assert transport.written.startswith(b"HTTP/1.1 408 ")
    assert conversation.end().closed


@pytest.mark.parametrize("drip", [b"\r\n", b"\n"])
def test_empty_lines_do_not_keep_an_idle_connection(drip: bytes):
    table = Table(Limits(idle_timeout=10.0))
    clock = table.loop.clock
    conversation = table.connect()
    conversation.client.look_at_clock(clock.now)
    for _ in range(20):
        assert not conversation.transport.ended
        clock.advance(0.5)
        conversation.send(drip)
        conversation.client.look_at_clock(clock.now)
    assert conversation.end().closed
    assert not conversation.transport.written
