"""Which requests are sent again, and which never: the way a container is lost decides, and who may repeat what."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import Callable
from pathlib import Path

import h11
import pytest

from gateway.world import DEADLINE, Connection, Container, World, header, hello, run
from portico.gateway import dialer as dialer_module
from portico.gateway.dialer import Dialer
from portico.wire.container import Address
from portico.wire.manifest import Scaling

GET = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"
LARGE = 200_000  # bytes; more than is kept for a second try

# By name: the request, and the body that it carries.
REQUESTS = {
    "GET": (GET, b""),
    "DELETE": (b"DELETE / HTTP/1.1\r\nHost: h\r\n\r\n", b""),
    "POST": (b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc", b"abc"),
    "empty POST": (b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n", b""),
    "chunked POST": (
        b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        b"abc",
    ),
    "PATCH": (b"PATCH / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc", b"abc"),
    "PUT": (b"PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc", b"abc"),
    "chunked PUT": (
        b"PUT / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        b"abc",
    ),
    "large PUT": (
        b"PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n" % LARGE + b"x" * LARGE,
        b"x" * LARGE,
    ),
}
replaces_a_method = pytest.mark.skipif(
    not str(dialer_module.__file__).endswith(".py"), reason="a compiled object keeps its methods"
)
REPEATABLE = ("GET", "DELETE", "PUT", "chunked PUT")


def method(name: str) -> str:
    return name.split()[-1]


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(DEADLINE):
        while not condition():
            await asyncio.sleep(0.002)


def hang_up(connection: Connection) -> None:
    """Close the container's end at this very moment; the loop has not noticed yet when it goes on."""
    with socket.socket(fileno=os.dup(connection.writer.get_extra_info("socket").fileno())) as end:
        end.shutdown(socket.SHUT_RDWR)


def vanish(container: Container, *, leave_file: bool) -> None:
    """Listen no more, as a container does that was killed, of whose death nobody has heard yet."""
    assert container.server is not None
    container.server.close()
    Path(container.path).unlink(missing_ok=True)
    if leave_file:
        with socket.socket(socket.AF_UNIX) as deaf:
            deaf.bind(container.path)


# ---- nothing was sent


@pytest.mark.parametrize("name", ["GET", "POST", "large PUT"])
@pytest.mark.parametrize("leave_file", [True, False], ids=["refused", "no socket"])
def test_request_goes_on_until_a_container_takes_it(name, leave_file):
    async def test():
        async with World(hello, scaling=Scaling(max_inputs=10, max_containers=5)) as world:
            await world.pool.prepare(4)
            world.pool.start()
            for container in world.containers:
                vanish(container, leave_file=leave_file)
            client = await world.connect()
            request, body = REQUESTS[name]
            client.send(request)
            head, answer = await client.response(method(name))
            assert (head.status_code, answer.partition(b"/ ")[2]) == (200, body)
            assert [c.dead for c in world.containers[:5]] == [True] * 4 + [False]
            assert len(world.requests) == 1
            await world.idle()

    run(test)


@pytest.mark.parametrize("name", REQUESTS)
def test_kept_connection_that_is_closed_just_then_takes_no_request_with_it(name):
    seen: list[Connection] = []

    async def handler(connection: Connection) -> None:
        seen.append(connection)
        await hello(connection)

    async def test():
        async with World(handler, scaling=Scaling(max_inputs=10, max_containers=1)) as world:
            client = await world.connect()
            client.send(GET)
            await client.response()
            await world.idle()
            admit = world.gateway.admit

            def admit_and_hang_up(*arguments):
                hang_up(seen[0])
                return admit(*arguments)

            world.gateway.admit = admit_and_hang_up
            request, body = REQUESTS[name]
            client.send(request)
            head, answer = await client.response(method(name))
            assert (head.status_code, answer.partition(b"/ ")[2]) == (200, body)
            assert len(seen) == len(world.requests) == 2
            assert len(world.containers) == 1
            await world.idle()

    run(test)


@pytest.mark.parametrize("whole", [True, False], ids=["whole", "still arriving"])
@replaces_a_method
def test_new_connection_that_is_closed_before_a_byte_takes_no_request_with_it(whole):
    async def test():
        async with World(hello, scaling=Scaling(max_inputs=10, max_containers=2)) as world:
            await world.pool.prepare(1)
            dial = world.gateway.dialer.dial
            dialled = 0

            async def dial_who_hangs_up(address):
                nonlocal dialled
                dialled += 1
                connection = await dial(address)
                if dialled < 4:
                    with socket.socket(fileno=os.dup(connection.fileno())) as end:
                        end.shutdown(socket.SHUT_RDWR)
                return connection

            world.gateway.dialer.dial = dial_who_hangs_up
            client = await world.connect()
            head, body = b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 6\r\n\r\nabc", b"def"
            client.send(head + body if whole else head)
            if not whole:
                await until(lambda: world.requests)
                client.send(body)
            response, answer = await client.response("POST")
            assert (response.status_code, answer) == (200, b"POST / abcdef")
            assert (dialled, len(world.requests)) == (4, 1)
            await world.idle()

    run(test)


@replaces_a_method
def test_container_that_never_takes_a_byte_is_given_up_and_the_request_is_502():
    async def test():
        async with World(hello, scaling=Scaling(max_inputs=10, max_containers=2)) as world:
            dial = world.gateway.dialer.dial

            async def dial_who_hangs_up(address):
                connection = await dial(address)
                connection.close()
                return connection

            world.gateway.dialer.dial = dial_who_hangs_up
            client = await world.connect()
            client.send(GET)
            assert (await client.response())[0].status_code == 502
            assert world.requests == []
            await world.idle()

    run(test)


@replaces_a_method
def test_idle_connections_of_a_dead_container_are_not_tried_one_by_one():
    together = asyncio.Event()
    seen: list[Connection] = []

    async def handler(connection: Connection) -> None:
        seen.append(connection)
        while await connection.request():
            await connection.body()
            if len(seen) == 5:
                together.set()
            await together.wait()
            await connection.respond(b"ok")

    async def test():
        async with World(handler, scaling=Scaling(max_inputs=10, max_containers=2)) as world:
            clients = [await world.connect() for _ in range(5)]
            for client in clients:
                client.send(GET)
            for client in clients:
                await client.response()
            await world.idle()
            (dead,) = world.containers
            dialer, taken = world.gateway.dialer, 0
            take, admit = dialer.take, world.gateway.admit

            def count_taken(*arguments):
                nonlocal taken
                taken += 1
                return take(*arguments)

            def admit_and_die(*arguments):
                vanish(dead, leave_file=True)
                for connection in seen[:5]:
                    hang_up(connection)
                return admit(*arguments)

            dialer.take, world.gateway.admit = count_taken, admit_and_die
            clients[0].send(REQUESTS["POST"][0])
            assert (await clients[0].response("POST"))[1] == b"ok"
            assert taken == 1
            assert dead.dead
            await world.idle()
            assert dead.path not in dialer._idle

    run(test)


@pytest.mark.parametrize("name", ["GET", "empty POST", "POST"])
@replaces_a_method
def test_container_that_dies_with_a_connection_it_never_accepted_has_not_seen_its_request(name):
    """Again and again, as when all containers are killed at once; of a body it may have read the beginning."""

    async def test():
        async with World(hello, scaling=Scaling(max_inputs=10, max_containers=5)) as world:
            await world.pool.prepare(3)
            world.pool.start()
            dial, dying = world.gateway.dialer.dial, list(world.containers)
            for container in dying:
                vanish(container, leave_file=False)

            async def dial_and_die(address):
                found = [c for c in dying if c.path == address.path]
                if not found:
                    return await dial(address)
                dying.remove(found[0])
                deaf = socket.socket(socket.AF_UNIX)
                deaf.bind(address.path)
                deaf.listen()
                connection = await dial(address)
                asyncio.get_running_loop().call_soon(deaf.close)  # when the request is written
                return connection

            world.gateway.dialer.dial = dial_and_die
            client = await world.connect()
            client.send(REQUESTS[name][0])
            head, _ = await client.response(method(name))
            assert head.status_code == (502 if name == "POST" else 200)
            assert len(world.requests) == (0 if name == "POST" else 1)
            await world.idle()

    run(test)


# ---- it may have been executed


async def lose(connection: Connection, stage: str) -> None:
    """End the connection at some stage of the first request on it."""
    request = await connection.request()
    assert request is not None
    if stage == "head read":
        return
    await connection.body()
    if stage == "half a head":
        connection.raw(b"HTTP/1.1 200 OK\r\nContent-Le")
    elif stage == "interim response":
        connection.raw(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n")
    elif stage == "response begun":
        connection.raw(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
    elif stage == "container died":
        connection.container.kill()
    await connection.writer.drain()


@pytest.mark.parametrize("name", REQUESTS)
@pytest.mark.parametrize(
    "stage", ["head read", "request read", "half a head", "interim response", "container died"]
)
def test_repeatable_request_is_repeated_once_and_any_other_never(stage, name):
    async def handler(connection: Connection) -> None:
        if not connection.container.world.requests:
            await lose(connection, stage)
        else:
            await hello(connection)

    async def test():
        async with World(handler, scaling=Scaling(max_inputs=10, max_containers=1)) as world:
            client = await world.connect()
            request, body = REQUESTS[name]
            client.send(request)
            head, answer = await client.response(method(name))
            if name in REPEATABLE:
                assert (head.status_code, answer.partition(b"/ ")[2]) == (200, body)
                assert len(world.requests) == 2
            else:
                assert head.status_code == 502
                assert len(world.requests) == 1
            await world.idle()

    run(test)


@pytest.mark.parametrize("name", ["GET", "POST"])
def test_response_that_began_is_cut_and_nothing_is_repeated(name):
    async def test():
        async with World(lambda connection: lose(connection, "response begun")) as world:
            client = await world.connect()
            client.send(REQUESTS[name][0])
            with pytest.raises((ConnectionResetError, h11.RemoteProtocolError)):
                await client.response(method(name))
            await world.idle()
            assert len(world.requests) == 1

    run(test)


def test_request_whose_body_is_still_arriving_is_not_repeated():
    async def test():
        async with World(lambda connection: lose(connection, "head read")) as world:
            client = await world.connect()
            client.send(b"PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 6\r\n\r\nabc")
            head, _ = await client.response("PUT")
            assert head.status_code == 502
            assert header(head, "connection") == b"close"
            assert len(world.requests) == 1
            await world.idle()

    run(test)


def test_second_execution_is_the_last():
    async def test():
        async with World(lambda connection: lose(connection, "container died")) as world:
            client = await world.connect()
            client.send(GET)
            assert (await client.response())[0].status_code == 502
            assert len(world.requests) == 2
            await world.idle()

    run(test)


def test_containers_that_cannot_be_reached_do_not_count_as_the_repeat():
    async def handler(connection: Connection) -> None:
        world = connection.container.world
        if world.requests:
            await hello(connection)
            return
        for other in world.containers:
            if other is not connection.container:
                vanish(other, leave_file=True)
        await lose(connection, "container died")

    async def test():
        async with World(handler, scaling=Scaling(max_inputs=10, max_containers=4)) as world:
            await world.pool.prepare(4)
            world.pool.start()
            client = await world.connect()
            client.send(GET)
            assert (await client.response())[0].status_code == 200
            assert len(world.requests) == 2
            assert [c.dead for c in world.containers[:5]] == [True] * 4 + [False]
            await world.idle()

    run(test)


def test_connection_that_has_still_to_carry_a_part_of_its_request_is_not_kept():
    reached, answer = asyncio.Event(), asyncio.Event()

    async def never_reads(connection: Connection) -> None:
        await connection.request()
        connection.reader._transport.pause_reading()
        reached.set()
        await answer.wait()
        connection.raw(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nno")
        connection.ended()
        await asyncio.sleep(DEADLINE)

    async def test():
        async with World(never_reads) as world:
            client = await world.connect()
            size = 1024**2
            client.send(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n" % size)
            await reached.wait()
            (exchange,) = (c._current for c in world.gateway._connections)
            # As one piece, which the gateway has whole, though it would have stopped to read in its middle.
            exchange.request_body(b"x" * size)
            exchange.request_end([])
            exchange.request_flush()
            answer.set()
            await client.until(b"\r\n\r\nno")
            await world.idle()
            assert exchange.request_complete
            assert world.gateway.dialer._idle == {}

    run(test)


# ---- a server of the user's, which closes idle connections as it likes


def test_old_connection_to_such_a_server_is_good_enough_only_for_what_may_be_repeated():
    seen: list[Connection] = []

    async def handler(connection: Connection) -> None:
        seen.append(connection)
        await hello(connection)

    async def test():
        scaling = Scaling(max_inputs=10, max_containers=1)
        async with World(handler, scaling=scaling, reports_end=False) as world:
            client = await world.connect()
            for name, ticks, connections in [
                ("GET", 0, 1),
                ("POST", 0, 1),
                ("GET", 3, 1),
                ("POST", 3, 2),
                ("POST", 0, 2),
            ]:
                await world.idle()
                for _ in range(ticks):
                    world.gateway.dialer.tick()
                client.send(REQUESTS[name][0])
                assert (await client.response(name))[0].status_code == 200
                assert len(seen) == connections, (name, ticks)

    run(test)


def test_connection_on_which_something_came_is_not_trusted_with_a_post():
    async def test():
        loop = asyncio.get_running_loop()
        with socket.create_server(("127.0.0.1", 0)) as server:
            server.setblocking(False)
            address = Address(host="127.0.0.1", port=server.getsockname()[1])
            dialer = Dialer(loop)
            for fate in ("open", "closed"):
                connection = await dialer.dial(address)
                peer, _ = await loop.sock_accept(server)
                dialer.keep(connection)
                if fate == "closed":
                    peer.close()
                taken = dialer.take(address, b"POST")
                assert (taken is connection) is (fate == "open")
                connection.close()
                with contextlib.suppress(OSError):
                    peer.close()
            dialer.close()

    run(test)


# ---- while it is tried again


async def dies_once(connection: Connection) -> None:
    world = connection.container.world
    if world.requests:
        await hello(connection)
        return
    world.may_start.clear()
    await lose(connection, "container died")


def test_wait_for_another_container_is_not_part_of_the_time_that_an_input_may_take():
    async def test():
        scaling = Scaling(max_containers=1)
        async with World(dies_once, scaling=scaling, timeout=0.1) as world:
            client = await world.connect()
            client.send(GET)
            await until(lambda: world.pool.stats.waiting)
            ticks = world.gateway.dialer._ticks
            await until(lambda: world.gateway.dialer._ticks >= ticks + 2)
            world.may_start.set()
            assert (await client.response())[0].status_code == 200
            await world.idle()

    run(test)


def test_wait_for_another_container_is_bounded_like_any_other():
    async def test():
        scaling = Scaling(max_containers=1)
        async with World(dies_once, scaling=scaling, startup_timeout=0.2) as world:
            client = await world.connect()
            client.send(GET)
            assert (await client.response())[0].status_code == 503
            assert len(world.requests) == 1
            await world.idle()

    run(test)


def test_client_that_leaves_meanwhile_leaves_nothing_behind():
    async def test():
        async with World(dies_once, scaling=Scaling(max_containers=1)) as world:
            client = await world.connect()
            client.send(GET)
            await until(lambda: world.pool.stats.waiting)
            client.close()
            await world.idle()
            world.may_start.set()
            await until(lambda: world.pool.stats.ready)
            assert len(world.requests) == 1

    run(test)
