"""Every request is entered in the book exactly once, whichever way it ends, and its line says what it was."""

from __future__ import annotations

import asyncio
import ipaddress
import json
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from wsproto.events import CloseConnection

from gateway.sockets import Socket, echo
from gateway.world import DEADLINE, Connection, World, hello, run
from portico.gateway.access_log import LONGEST, Line, printable
from portico.gateway.ledger import ANSWERED, Ledger
from portico.gateway.limits import Limits
from portico.pools.tally import Subject
from portico.pools.waiter import WaitingRoom
from portico.wire.container import Failed
from portico.wire.manifest import ParameterSpec, Scaling

GET = b"GET /p?secret=1 HTTP/1.1\r\nHost: h\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc"
ONE_SLOT = Scaling(max_inputs=1, max_containers=1)
Outcomes = dict[tuple[str, int], int]


class Paper:
    """An access log in memory."""

    dropped = 0

    def __init__(self) -> None:
        self.lines: list[Line] = []

    def write(self, line: Line) -> None:
        self.lines.append(line)


class BookedWorld(World):
    """A world whose book is read."""

    async def __aenter__(self) -> BookedWorld:
        await super().__aenter__()
        self.paper = Paper()
        self.gateway.ledger = Ledger(self.paper, self.gateway._forwarding.client)
        self.endpoint.tally.subject = Subject("main", "app", "f")
        return self

    @property
    def outcomes(self) -> Outcomes:
        """How many requests ended how, with which class of status; strays have a ``?`` before it."""
        tally, strays = self.endpoint.tally, self.gateway.ledger.strays
        assert not any(strays.answered)
        counts: Counter[tuple[str, int]] = Counter(tally.others)
        counts.update({(ANSWERED, s): n for s, n in enumerate(tally.answered) if n})
        counts.update({(f"?{outcome}", s): n for (outcome, s), n in strays.others.items()})
        assert sum(tally.latency.counts) == sum(tally.answered)
        return dict(counts)

    async def until_outcomes(self, expected: Outcomes) -> list[Line]:
        """Wait for as many outcomes, which must be these; gives the log's lines."""
        async with asyncio.timeout(DEADLINE):
            while sum(self.outcomes.values()) < sum(expected.values()):
                await asyncio.sleep(0.002)
        assert self.outcomes == expected
        return self.paper.lines


async def silent(connection: Connection) -> None:
    """Reads requests and does not answer."""
    await connection.request()
    await connection.body()
    await asyncio.Event().wait()


async def half(connection: Connection) -> None:
    """Begins an answer, and waits."""
    await connection.request()
    await connection.body()
    connection.raw(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
    await asyncio.Event().wait()


async def dies(connection: Connection) -> None:
    await connection.request()
    await connection.body()
    connection.container.kill()


async def dies_halfway(connection: Connection) -> None:
    await connection.request()
    await connection.body()
    connection.raw(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
    await connection.writer.drain()
    connection.container.kill()


def test_an_answer_is_one_count_one_duration_and_one_line():
    async def test():
        async with BookedWorld(hello) as world:
            before = datetime.now(UTC)
            client = await world.connect()
            client.send(
                b"POST /a/b?token=geheim HTTP/1.1\r\nHost: H.example:8400\r\nUSER-agent:  curl/8\r\n"
                b"Authorization: Bearer geheim\r\nModal-Secret: geheim\r\nCookie: geheim\r\n"
                b"Content-Length: 3\r\n\r\nabc"
            )
            head, body = await client.response("POST")
            assert head.status_code == 200
            client.send(GET)
            await client.response()
            first, second = await world.until_outcomes({(ANSWERED, 2): 2})
            assert before <= first.time <= second.time <= datetime.now(UTC)
            assert timedelta(0) <= timedelta(milliseconds=first.duration_ms) < timedelta(minutes=1)
            written = msgspec.json.encode(first).decode()
            assert "geheim" not in written
            said = json.loads(written)
            assert datetime.fromisoformat(said.pop("time")) == first.time
            said.pop("duration_ms")
            request_id = dict(head.headers)[b"x-request-id"].decode()
            assert said.pop("cold_start").keys() == {"queue", "boot", "import"}
            assert said == {
                "request_id": request_id,
                "client": "127.0.0.1",
                "method": "POST",
                "host": "H.example:8400",
                "path": "/a/b",
                "status": 200,
                "outcome": "answered",
                "bytes_in": 3,
                "bytes_out": said["bytes_out"],
                "environment": "main",
                "app": "app",
                "function": "f",
                "container": world.pool.members[0].id,
                "trace_id": request_id.removeprefix("in-"),
                "user_agent": "curl/8",
            }
            assert said["bytes_out"] > len(body) + 100
            assert second.cold_start is None
            assert second.user_agent is None
            assert second.path == "/p"

    run(test)


@pytest.mark.parametrize(
    ("request_bytes", "options", "expected"),
    [
        (b"GET / HTTP/1.1\r\nHost: nobody\r\n\r\n", {"own": False}, ("?not_found", 4)),
        (b"GET / HTTP/1.1\r\n\r\n", {}, ("?bad_request", 4)),
        (b"garbage\r\n\r\n", {}, ("?bad_request", 4)),
        (b"GET / HTTP/2.0\r\nHost: h\r\n\r\n", {}, ("?bad_version", 5)),
        (b"CONNECT h:1 HTTP/1.1\r\nHost: h:1\r\n\r\n", {}, ("?not_implemented", 5)),
        (
            b"GET / HTTP/1.1\r\nHost: h\r\nA: " + b"x" * 2000 + b"\r\n\r\n",
            {"limits": Limits(head=1000)},
            ("?head_too_large", 4),
        ),
        (b"GET / HT", {"limits": Limits(head_timeout=0.01)}, ("?slow_head", 4)),
        (b"", {"limits": Limits(connections=0)}, ("?too_many_connections", 5)),
        (GET, {"auth": True}, ("unauthorized", 4)),
        (GET, {"rate": 0.001, "burst": 0.5}, ("rate_limited", 4)),
        (POST, {"limits": Limits(request_body=2)}, ("body_too_large", 4)),
        (
            b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
            {"limits": Limits(request_body=2)},
            ("body_too_large", 4),
        ),
        (
            b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabcd\r\n",
            {},
            ("bad_request", 4),
        ),
        (GET, {"parameters": (ParameterSpec(name="n", type="int"),)}, ("bad_parameter", 4)),
        (GET, {"handler": silent, "timeout": 0.01}, ("timeout", 5)),
        (POST, {"handler": dies}, ("container_lost", 5)),
        (POST, {"handler": dies_halfway}, ("cut", 2)),
        (GET, {"handler": half, "timeout": 0.01}, ("cut", 2)),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else "",
)
def test_what_the_gateway_says_itself_is_one_count_by_reason(
    request_bytes: bytes, options: dict, expected: tuple[str, int]
) -> None:
    options = dict(options)
    own, handler = options.pop("own", True), options.pop("handler", silent)

    async def test():
        async with BookedWorld(handler, **options) as world:
            client = await world.connect(own_port=own)
            client.send(request_bytes)
            said = await client.until(b"\r\n\r\n")
            (line,) = await world.until_outcomes({expected: 1})
            assert line.status == int(said.split()[1])
            assert line.outcome == expected[0].removeprefix("?")
            assert (line.app is None) == expected[0].startswith("?")
            if line.outcome in ("container_lost", "cut", "timeout"):
                assert line.container is not None
            client.close()
            await client.rest()
            assert world.outcomes == {expected: 1}  # nothing that comes after counts again

    run(test)


def test_full_queues_and_failing_starts_have_reasons_of_their_own():
    async def test():
        async with BookedWorld(silent, scaling=ONE_SLOT) as world:
            first, second = [await world.connect() for _ in range(2)]
            first.send(GET)
            async with asyncio.timeout(DEADLINE):
                while not world.requests:
                    await asyncio.sleep(0.002)
            world.pool._waiting_room = WaitingRoom(0)
            second.send(GET)
            await second.response()
            await world.until_outcomes({("queue_full", 4): 1})
        async with BookedWorld(silent) as world:
            world.failure = Failed(phase="import", message="no", traceback="")
            client = await world.connect()
            client.send(GET)
            await client.response()
            (line,) = await world.until_outcomes({("start_failed", 5): 1})
            assert line.container is None

    run(test)


@pytest.mark.parametrize(("handler", "status"), [(silent, 0), (half, 2)])
def test_a_client_that_leaves_is_counted_by_what_it_was_told(
    handler: Callable, status: int
) -> None:
    async def test():
        async with BookedWorld(handler) as world:
            client = await world.connect()
            client.send(GET)
            async with asyncio.timeout(DEADLINE):
                while not world.requests:
                    await asyncio.sleep(0.002)
            if status:
                await client.until(b"half")
            client.close()
            (line,) = await world.until_outcomes({("aborted", status): 1})
            assert line.status == (200 if status else None)
            assert line.container == world.pool.members[0].id
            await world.idle()

    run(test)


def test_what_comes_behind_the_last_request_of_a_connection_is_dropped_and_counted():
    async def test():
        async with BookedWorld(hello, limits=Limits(request_body=9998)) as world:
            client = await world.connect()
            last = b"GET /last HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"
            client.send(GET + POST[:-3] + b"ab")  # the second is not whole
            await client.response()
            client.close()
            await world.until_outcomes({(ANSWERED, 2): 1, ("aborted", 0): 1})
            client = await world.connect()
            client.send(last + GET)
            assert b"/last" in await client.rest()
            assert world.outcomes == {
                (ANSWERED, 2): 2,
                ("aborted", 0): 1,
                ("?dropped", 0): 1,  # data behind the end, which is not read as a request
            }
            client = await world.connect()
            client.send(
                b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 9999\r\n\r\n" + bytes(9999) + GET
            )
            assert (await client.rest()).startswith(b"HTTP/1.1 413 ")
            assert (
                world.outcomes[("?dropped", 0)] == 2
            )  # read, but behind an answer that is the last

    run(test)


def test_a_gateway_that_ends_cuts_what_still_runs():
    async def test():
        async with BookedWorld(half) as world:
            client = await world.connect()
            client.send(GET)
            await client.until(b"half")
            await world.gateway.close(0.01)
            await world.until_outcomes({("cut", 2): 1})

    run(test)


def test_a_websocket_is_counted_when_it_opens_and_logged_when_it_is_over():
    async def test():
        async with BookedWorld(echo) as world:
            socket = await Socket.open(world)
            assert await world.until_outcomes({("upgraded", 1): 1}) == []
            assert (world.gateway.websockets, world.gateway.connections) == (1, 1)
            assert (world.gateway.dialer.open, world.gateway.dialer.idle) == (1, 0)
            socket.send(CloseConnection(code=1000))
            await socket.event()
            socket.client.close()
            async with asyncio.timeout(DEADLINE):
                while world.gateway.connections or world.gateway.dialer.open:
                    await asyncio.sleep(0.002)
            assert world.gateway.websockets == 0
            (line,) = world.paper.lines
            assert (line.status, line.outcome, line.path) == (101, "upgraded", "/ws")
            assert (line.bytes_in, line.bytes_out) == (None, None)
            assert line.container == world.pool.members[0].id
            assert world.outcomes == {("upgraded", 1): 1}

    run(test)


def test_connections_to_containers_are_idle_or_busy_and_none_is_left():
    async def test():
        async with BookedWorld(hello) as world:
            dialer = world.gateway.dialer
            client = await world.connect()
            client.send(GET)
            await client.response()
            assert (dialer.open, dialer.idle) == (1, 1)
            world.handler = silent
            world.gateway.dialer.take(world.pool.members[0].addresses[""], b"GET").close()
            client.send(GET)
            async with asyncio.timeout(DEADLINE):
                while len(world.requests) < 2:
                    await asyncio.sleep(0.002)
            assert (dialer.open, dialer.idle) == (1, 0)
            client.close()
            async with asyncio.timeout(DEADLINE):
                while dialer.open:
                    await asyncio.sleep(0.002)
            assert dialer.idle == 0

    run(test)


@pytest.mark.parametrize(
    ("hostile", "written"),
    [
        (b'/"\n{"request_id":"forged"}', '/"\\x0a{"request_id":"forged"}'),
        (b"\x1b]0;title\x07\x9b31m\x7f", "\\x1b]0;title\\x07\\x9b31m\\x7f"),
        ("ü\u2028".encode(), "\\xc3\\xbc\\xe2\\x80\\xa8"),
        (b"x" * (LONGEST + 1), "x" * (LONGEST - 3) + "..."),
        (b"\xff" * 60_000, "\\xff" * (LONGEST // 4 - 1) + "\\..."),
        (b"", ""),
    ],
)
def test_no_client_can_forge_a_line_or_command_a_terminal(hostile: bytes, written: str) -> None:
    assert printable(hostile) == written
    assert b"\n" not in msgspec.json.encode(printable(hostile))


def test_the_client_is_the_one_that_a_trusted_proxy_names():
    async def test(trusted, expected):
        async with BookedWorld(hello, trusted=trusted) as world:
            client = await world.connect()
            client.send(
                b"GET / HTTP/1.1\r\nHost: h\r\nX-Forwarded-For: 6.6.6.6\r\n"
                b"X-Forwarded-For: 9.9.9.9, 127.0.0.9\r\n\r\n"
            )
            await client.response()
            (line,) = await world.until_outcomes({(ANSWERED, 2): 1})
            assert line.client == expected
            (told,) = [v for n, v in world.requests[0].headers if n == b"x-forwarded-for"]
            assert told.decode() == expected

    run(lambda: test((), "127.0.0.1"))
    run(lambda: test((ipaddress.ip_network("127.0.0.0/8"),), "9.9.9.9"))


def test_hostile_heads_are_one_line_each():
    async def test():
        async with BookedWorld(hello) as world:
            client = await world.connect()
            client.send(
                b'GET /%0a"\\x?y HTTP/1.1\r\nHost: h\r\nUser-Agent: \xc2\x9b"\\n{}\xff\r\n\r\n'
            )
            await client.response()
            (line,) = await world.until_outcomes({(ANSWERED, 2): 1})
            text = msgspec.json.encode(line)
            assert text.isascii()
            said = json.loads(text)
            assert said["path"] == '/%0a"\\x'
            assert said["user_agent"] == '\\xc2\\x9b"\\n{}\\xff'

    run(test)
