"""What goes wrong: clients that leave, containers that die, and input that is not HTTP."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import json
import socket
import struct
from pathlib import Path

import h11
import pytest

from gateway.world import (
    DEADLINE,
    Connection,
    Flood,
    World,
    header,
    hello,
    run,
    slow_reader_pauses_its_container,
)
from portico.gateway.downstream import MAX_QUEUED, SLICE
from portico.gateway.limits import Limits
from portico.wire.container import Address, Failed
from portico.wire.manifest import Scaling

GET = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"


def test_answer_to_a_broken_request_waits_for_the_one_before():
    async def test():
        async with World(hello) as world:
            client = await world.connect()
            client.send(b"GET /first HTTP/1.1\r\nHost: h\r\n\r\nGARBAGE\r\n\r\n")
            raw = await client.rest()
            assert raw.index(b"GET /first") < raw.index(b"HTTP/1.1 400")

    run(test)


@pytest.mark.parametrize(
    "head",
    [
        b"GET / HTTP/1.1\r\nHost: h\r\nX: " + b"a" * 2000 + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: h\r\nX: " + b"a" * 2000,
        b"GET /" + b"a" * 2000 + b" HTTP/1.1\r\nHost: h\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: h\r\n" + b"A: 1\r\n" * 11 + b"\r\n",
    ],
)
def test_too_large_a_head_is_431(head):
    async def test():
        async with World(hello, limits=Limits(head=1024, headers=10)) as world:
            client = await world.connect()
            client.send(head)
            assert (await client.rest()).startswith(b"HTTP/1.1 431 ")
            assert world.requests == []

    run(test)


@pytest.mark.parametrize(
    "message",
    [
        b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 11\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nb\r\n12345678901\r\n",
    ],
)
def test_too_large_a_body_is_413_declared_or_counted(message):
    async def test():
        async with World(hello, limits=Limits(request_body=10)) as world:
            client = await world.connect()
            client.send(message)
            assert (await client.rest()).startswith(b"HTTP/1.1 413 ")
            await world.idle()
            exact = await world.connect()
            exact.send(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\n1234567890")
            assert (await exact.response())[0].status_code == 200

    run(test)


def test_slow_head_is_408_and_an_idle_connection_is_closed():
    async def test():
        async with World(hello, limits=Limits(head_timeout=0.05, idle_timeout=0.05)) as world:
            slow, idle = await world.connect(), await world.connect()
            slow.send(b"GET / HTTP/1.1\r\nHost:")
            assert (await slow.rest()).startswith(b"HTTP/1.1 408 ")
            assert await idle.rest() == b""

    run(test)


def test_rate_limit_is_429_with_retry_after():
    async def test():
        async with World(hello, rate=0.001, burst=2) as world:
            client = await world.connect()
            statuses = []
            for _ in range(3):
                client.send(GET)
                head, _ = await client.response()
                statuses.append(head.status_code)
            assert statuses == [200, 200, 429]
            assert int(header(head, "retry-after")) >= 1

    run(test)


def test_failed_start_is_503_with_the_traceback_for_an_ephemeral_app_only():
    async def test(ephemeral: bool):
        async with World(hello, ephemeral=ephemeral) as world:
            world.failure = Failed(
                phase="import", message="ValueError: no", traceback="Traceback: here"
            )
            client = await world.connect()
            client.send(GET)
            head, body = await client.response()
            assert head.status_code == 503
            detail = json.loads(body)["detail"]
            assert "ValueError: no" in detail
            assert ("Traceback: here" in detail) is ephemeral
            assert header(head, "retry-after") is not None

    run(lambda: test(True))
    run(lambda: test(False))


def test_client_that_leaves_while_it_waits_frees_its_place():
    async def test():
        async with World(hello, scaling=Scaling(max_containers=1)) as world:
            blocker = world.pool.acquire()
            lease = await blocker
            client = await world.connect()
            client.send(GET)
            async with asyncio.timeout(DEADLINE):
                while not world.pool.stats.waiting:
                    await asyncio.sleep(0.001)
                client.close()
                while world.pool.stats.waiting:
                    await asyncio.sleep(0.001)
            world.containers[0].report(lease.input_id)
            assert world.requests == []

    run(test)


def test_client_that_leaves_mid_response_cancels_its_input():
    async def endless(connection: Connection) -> None:
        await connection.request()
        await connection.body()
        connection.send(h11.Response(status_code=200, headers=[(b"transfer-encoding", b"chunked")]))
        connection.send(h11.Data(data=b"begun"))
        await connection.reader.read()

    async def test():
        async with World(endless) as world:
            client = await world.connect()
            client.send(GET)
            await client.until(b"begun")
            client.close()
            async with asyncio.timeout(DEADLINE):
                await world.cancelled.get()
            await world.idle()

    run(test)


def test_client_that_leaves_mid_upload_cancels_its_input():
    async def test():
        async with World(hello) as world:
            client = await world.connect()
            client.send(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 100\r\n\r\nhalf")
            async with asyncio.timeout(DEADLINE):
                while not world.requests:
                    await asyncio.sleep(0.001)
            client.writer.transport.abort()
            async with asyncio.timeout(DEADLINE):
                await world.cancelled.get()
            await world.idle()

    run(test)


def test_function_that_is_silent_for_its_timeout_gets_504_and_is_cancelled():
    async def silent(connection: Connection) -> None:
        await connection.request()
        await connection.reader.read()

    async def test():
        async with World(silent, timeout=0.05) as world:
            client = await world.connect()
            client.send(GET)
            head, _ = await client.response()
            assert head.status_code == 504
            async with asyncio.timeout(DEADLINE):
                await world.cancelled.get()
            await world.idle()

    run(test)


def test_response_that_falls_silent_is_cut_so_that_the_client_notices():
    async def silent(connection: Connection) -> None:
        await connection.request()
        await connection.body()
        connection.raw(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nbegun")
        await connection.reader.read()

    async def test():
        async with World(silent, timeout=0.05) as world:
            client = await world.connect()
            client.send(GET)
            with pytest.raises((ConnectionResetError, h11.RemoteProtocolError)):
                await client.response()
            await world.idle()

    run(test)


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"not http\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
    ],
)
def test_post_is_never_sent_twice_and_a_broken_answer_is_502(answer):
    async def broken(connection: Connection) -> None:
        await connection.request()
        await connection.body()
        connection.raw(answer)

    async def test():
        async with World(broken) as world:
            client = await world.connect()
            client.send(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\nx")
            head, _ = await client.response()
            assert head.status_code == 502
            assert len(world.requests) == 1
            await world.idle()

    run(test)


def test_idempotent_request_is_tried_once_more_when_its_container_dies():
    async def test():
        died = False

        async def die_once(connection: Connection) -> None:
            nonlocal died
            if not died:
                await connection.request()
                died = True
                connection.container.kill()
                return
            await hello(connection)

        async with World(die_once, scaling=Scaling(max_containers=1)) as world:
            client = await world.connect()
            client.send(b"PUT /x HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc")
            head, body = await client.response()
            assert (head.status_code, body) == (200, b"PUT /x abc")
            assert len(world.containers) == 2
            await world.idle()

    run(test)


def test_second_attempt_does_not_trust_another_idle_connection():
    ended = False
    together = asyncio.Event()
    seen: list[Connection] = []

    async def handler(connection: Connection) -> None:
        seen.append(connection)
        while await connection.request():
            if ended and connection in seen[:2]:  # closed meanwhile, as a server does that restarts
                return
            if len(seen) == 2:
                together.set()
            await together.wait()
            connection.raw(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
            connection.h11 = h11.Connection(h11.SERVER)
            connection.ended()

    async def test():
        nonlocal ended
        async with World(handler, scaling=Scaling(max_inputs=100, max_containers=1)) as world:
            clients = [await world.connect(), await world.connect()]
            for client in clients:
                client.send(GET)
            for client in clients:
                assert (await client.response())[1] == b"ok"
            ended = True
            clients[0].send(GET)
            assert (await clients[0].response())[1] == b"ok"
            assert len(seen) == 3
            await world.idle()

    run(test)


def test_request_that_could_not_be_delivered_goes_to_another_container_even_a_post():
    async def test():
        async with World(hello, scaling=Scaling(max_inputs=100, max_containers=2)) as world:
            await (await world.pool.acquire()).member.owner.prepare(1)
            first = world.containers[0]
            first.server.close()
            Path(first.path).unlink(missing_ok=True)
            client = await world.connect()
            client.send(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\nx")
            head, _ = await client.response()
            assert head.status_code == 200
            assert first.dead
            assert len(world.containers) == 2

    run(test)


def test_response_before_the_request_ended_reaches_the_client_and_closes():
    async def early(connection: Connection) -> None:
        await connection.request()
        connection.raw(b"HTTP/1.1 403 No\r\nContent-Length: 2\r\n\r\nno")
        connection.ended()
        await connection.reader.read()

    async def test():
        async with World(early) as world:
            client = await world.connect()
            client.send(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1000000\r\n\r\nbegin")
            raw = await client.rest()
            assert raw.endswith(b"\r\n\r\nno")
            await world.idle()

    run(test)


def test_slow_reader_pauses_the_container_instead_of_filling_memory():
    async def test():
        flood = Flood()
        async with World(flood) as world:
            await slow_reader_pauses_its_container(world, flood, await world.connect(), GET)

    run(test)


def test_slow_container_pauses_the_client_instead_of_filling_memory():
    async def test():
        go = asyncio.Event()

        async def slow(connection: Connection) -> None:
            await connection.request()
            await go.wait()
            await connection.respond(b"%d" % len(await connection.body()))

        async with World(slow) as world:
            client = await world.connect()
            size = 64 * 1024**2
            client.send(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n" % size)
            sent, piece = 0, b"x" * 65536
            client.writer.transport.set_write_buffer_limits(high=65536)

            async def upload() -> None:
                nonlocal sent
                while sent < size:
                    client.send(piece)
                    await client.writer.drain()
                    sent += len(piece)

            task = asyncio.create_task(upload())
            before = -1
            async with asyncio.timeout(DEADLINE):
                while sent != before or not sent:
                    before = sent
                    await asyncio.sleep(0.2)
            assert sent < 32 * 1024**2
            go.set()
            await task
            assert (await client.response())[1] == b"%d" % size

    run(test)


def test_shutdown_lets_a_running_response_end():
    go = asyncio.Event()

    async def slow(connection: Connection) -> None:
        await connection.request()
        await connection.body()
        await go.wait()
        await connection.respond(b"late")

    async def test():
        async with World(slow) as world:
            idle, busy = await world.connect(), await world.connect()
            busy.send(GET)
            async with asyncio.timeout(DEADLINE):
                while not world.requests:
                    await asyncio.sleep(0.001)
            closing = asyncio.create_task(world.gateway.close(5))
            assert await idle.rest() == b""
            go.set()
            assert (await busy.rest()).endswith(b"late")
            await closing

    run(test)


def test_thousands_of_pipelined_requests_are_answered_however_quickly():
    async def test():
        async with World(hello) as world:
            client = await world.connect(own_port=False)
            count = 3000
            client.send(b"GET / HTTP/1.1\r\nHost: nobody\r\n\r\n" * count)
            for _ in range(count):
                head, _ = await client.response()
                assert head.status_code == 404

    run(test)


def test_head_that_begins_behind_a_large_body_is_not_too_large():
    async def test():
        async with World(hello, limits=Limits(head=1024)) as world:
            client = await world.connect()
            client.send(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5000\r\n\r\n" + b"x" * 5000)
            client.send(b"GET /next HT")
            await client.writer.drain()
            assert (await client.response())[0].status_code == 200
            client.send(b"TP/1.1\r\nHost: h\r\n\r\n")
            assert (await client.response())[1] == b"GET /next "

    run(test)


def test_many_declined_upgrades_in_one_packet_are_all_answered():
    async def test():
        async with World(hello) as world:
            client = await world.connect(own_port=False)
            count = 3000
            offer = b"GET / HTTP/1.1\r\nHost: nobody\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n"
            client.send(offer * count)
            for _ in range(count):
                assert (await client.response())[0].status_code == 404

    run(test)


def test_slow_reader_gets_the_whole_last_response_however_long_it_takes():
    size = 4 * 1024**2

    async def large(connection: Connection) -> None:
        await connection.request()
        await connection.body()
        await connection.respond(b"x" * size)

    async def test():
        async with World(large) as world:
            client = await world.connect()
            client.writer.transport.pause_reading()
            client.send(b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
            await asyncio.sleep(3)  # longer than a client that has everything is waited for
            client.writer.transport.resume_reading()
            assert len((await client.response())[1]) == size

    run(test)


def test_client_that_never_reads_its_answer_is_let_go():
    async def large(connection: Connection) -> None:
        await connection.request()
        await connection.body()
        await connection.respond(b"x" * 8 * 1024**2)

    async def test():
        async with World(large, limits=Limits(idle_timeout=0.2), timeout=1) as world:
            client = await world.connect()
            client.writer.transport.pause_reading()
            client.send(GET)
            async with asyncio.timeout(DEADLINE):
                while not world.requests or world.gateway.connections:
                    await asyncio.sleep(0.05)
            await world.idle()

    run(test)


def test_cut_response_without_length_does_not_look_whole():
    async def dies(connection: Connection) -> None:
        await connection.request()
        await connection.body()
        connection.raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nbegun\r\n")
        await connection.writer.drain()
        await go.wait()
        connection.container.kill()

    go = asyncio.Event()

    async def test():
        async with World(dies) as world:
            client = await world.connect()
            client.send(b"GET / HTTP/1.0\r\n\r\n")
            await client.until(b"begun")
            go.set()
            async with asyncio.timeout(DEADLINE):
                with pytest.raises(ConnectionResetError):
                    await client.reader.read()

    run(test)


def test_client_that_leaves_while_its_upload_is_not_read_is_noticed():
    async def never_reads(connection: Connection) -> None:
        await connection.request()
        connection.reader._transport.pause_reading()
        await connection.container.cancelled.get()

    async def test():
        async with World(never_reads) as world:
            client = await world.connect()
            client.send(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 100000000\r\n\r\n")
            client.send(b"x" * 16 * 1024**2)
            async with asyncio.timeout(DEADLINE):
                while not any(c.paused for c in world.gateway._connections):
                    await asyncio.sleep(0.01)
                # A reset; an orderly end would stand in line behind what the client has still to send.
                connection = client.writer.get_extra_info("socket")
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                client.writer.transport.abort()
                await world.cancelled.get()
            await world.idle()

    run(test)


def test_connection_that_a_container_does_not_read_goes_with_the_client():
    stuck = asyncio.Event()

    async def deaf(connection: Connection) -> None:
        await connection.request()
        connection.writer.transport.pause_reading()
        await stuck.wait()

    async def test():
        async with World(deaf, reports_end=False) as world:
            client = await world.connect()
            client.send(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1000000\r\n\r\n")
            client.send(b"x" * 700_000)  # more than the container's socket takes
            await world.requested(1)
            (connection,) = world.gateway._connections
            async with asyncio.timeout(DEADLINE):
                while not connection.paused:
                    await asyncio.sleep(0.01)
            client.close()
            await world.connected(0)
            async with asyncio.timeout(DEADLINE):
                while world.gateway.dialer.open:
                    await asyncio.sleep(0.01)
            await world.idle()
            stuck.set()

    run(test)


@pytest.mark.parametrize(
    ("limit", "address", "status"),
    [
        (None, None, 404),  # a version without this web function
        (0, None, 503),  # no descriptors are left for a connection
        (None, "full.sock", None),  # the client leaves while its backlog is full
    ],
)
def test_input_that_no_container_has_seen_holds_no_slot(limit, address, status):
    async def test():
        async with World(hello, limits=Limits(upstream_connections=limit)) as world:
            world.ends_when_cancelled = False
            lease = await world.pool.acquire()
            lease.never_began()
            if status == 404:
                lease.member.addresses = {}
            with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as first:
                if address is not None:
                    path = str(world.folder / address)
                    listener.bind(path)
                    listener.listen(0)
                    first.connect(path)
                    lease.member.addresses = {"": Address(path=path)}
                client = await world.connect()
                client.send(GET)
                if status is None:
                    async with asyncio.timeout(DEADLINE):
                        while not world.pool.busy:
                            await asyncio.sleep(0.01)
                    client.close()
                    await world.connected(0)
                else:
                    assert (await client.response())[0].status_code == status
                assert not world.pool.busy

    run(test)


def test_client_that_leaves_behind_pipelined_requests_is_noticed():
    async def slow(connection: Connection) -> None:
        await connection.request()
        await connection.container.cancelled.get()

    async def test():
        async with World(slow) as world:
            client = await world.connect()
            client.send(GET * 2)
            async with asyncio.timeout(DEADLINE):
                while not world.requests:
                    await asyncio.sleep(0.001)
                client.close()
                await world.cancelled.get()
            await world.idle()

    run(test)


def test_container_whose_backlog_is_full_is_busy_and_not_dead():
    async def test():
        async with World(hello, scaling=Scaling(max_inputs=100, max_containers=1)) as world:
            lease = await world.pool.acquire()
            (container,) = world.containers
            container.server.close()
            Path(container.path).unlink()
            deaf = socket.socket(socket.AF_UNIX)
            deaf.bind(container.path)
            deaf.listen(0)
            waiting = [socket.socket(socket.AF_UNIX) for _ in range(10)]
            for connection in waiting:
                connection.setblocking(False)
            assert errno.EAGAIN in [c.connect_ex(container.path) for c in waiting]
            client = await world.connect()
            client.send(GET)
            async with asyncio.timeout(DEADLINE):
                while world.pool.stats.running < 2:
                    await asyncio.sleep(0.001)
            await asyncio.sleep(0.1)  # it has met the full backlog by now, several times
            assert not container.dead
            for connection in waiting:
                connection.close()
            deaf.close()
            Path(container.path).unlink()
            container.server = await asyncio.start_unix_server(container._serve, container.path)
            assert (await client.response())[0].status_code == 200
            container.report(lease.input_id)

    run(test)


def test_container_that_never_accepts_is_waited_for_no_longer_than_the_timeout():
    async def test():
        scaling = Scaling(max_inputs=100, max_containers=1)
        async with World(hello, scaling=scaling, timeout=0.2) as world:
            lease = await world.pool.acquire()
            (container,) = world.containers
            container.server.close()
            Path(container.path).unlink()
            with contextlib.ExitStack() as stack:
                deaf = stack.enter_context(socket.socket(socket.AF_UNIX))
                deaf.bind(container.path)
                deaf.listen(0)
                for _ in range(10):
                    waiting = stack.enter_context(socket.socket(socket.AF_UNIX))
                    waiting.setblocking(False)
                    waiting.connect_ex(container.path)
                client = await world.connect()
                client.send(GET)
                assert (await client.response())[0].status_code == 504
            container.report(lease.input_id)
            await world.idle()

    run(test)


def test_thousands_of_pipelined_requests_in_one_write_are_read_a_few_at_a_time():
    """Each costs far more memory than its bytes, so what comes behind those that may wait stays bytes."""
    count = 3000

    async def test():
        begun = asyncio.Event()
        gate = asyncio.Event()

        async def handler(connection: Connection) -> None:
            while await connection.request():
                begun.set()
                await gate.wait()
                await connection.respond(b"ok")

        async with World(handler) as world:
            client = await world.connect()
            client.send(GET * count)
            async with asyncio.timeout(DEADLINE):
                await begun.wait()
            (connection,) = world.gateway._connections
            waiting = MAX_QUEUED + SLICE // len(GET) + 1
            async with asyncio.timeout(DEADLINE):
                while not connection.paused:
                    await asyncio.sleep(0.001)
            assert MAX_QUEUED < len(connection._queue) <= waiting
            gate.set()
            for _ in range(count):
                head, body = await client.response()
                assert (head.status_code, body) == (200, b"ok")
                assert len(connection._queue) <= waiting
            await world.idle()
            assert len(world.requests) == count

    run(test)
