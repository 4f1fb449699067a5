"""Any mix of requests, handlers, deaths and clients that leave: each request has one outcome, and no slot is lost."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import h11
import uvloop
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from gateway.sockets import ACCEPTED, HANDSHAKE
from gateway.table import Transport
from gateway.world import DEADLINE, Client, Connection, Container, StandingClock, World, hello, run
from portico.gateway.dialer import MAX_IDLE
from portico.gateway.downstream import ClientConnection
from portico.gateway.head import IDEMPOTENT
from portico.wire.manifest import Scaling

GET = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"
SLOTS = Scaling(max_inputs=2, max_containers=2)
TIMEOUT = 60.0

# Requests by kind: method, head, body. The first half of an upload's body comes with its head.
KINDS = {
    "get": ("GET", b"", b""),
    "post": ("POST", b"Content-Length: 4\r\n", b"body"),
    "empty post": ("POST", b"Content-Length: 0\r\n", b""),
    "put": ("PUT", b"Transfer-Encoding: chunked\r\n", b"4\r\nbody\r\n0\r\n\r\n"),
    "upload": ("PUT", b"Content-Length: 8\r\n", b"bodybody"),
    "socket": ("GET", b"", b""),
}
ACTIONS = (
    *("answer", "answer", "answer in chunks", "accept", "half a head", "response begins"),
    *("garbage", "two answers", "hang up", "die"),
)


PICKS = st.integers(0, 7)


def picked(those: Sequence, pick: int):
    """One of `those`, if there is any."""
    return those[pick % len(those)] if those else None


@dataclass(eq=False)
class Call:
    """One request, as its client sees it."""

    target: bytes
    kind: str
    client: Client
    answer: asyncio.Task = field(init=False)
    whole: bool = True
    left: bool = False

    async def read(self) -> int | None:
        """The status of a whole answer, None for one that was cut off."""
        try:
            if self.kind == "socket":
                head = await self.client.reader.readuntil(b"\r\n\r\n")
                await self.client.reader.read()  # to the end of the connection
                return int(head.split()[1])
            head, body = await self.client.response(KINDS[self.kind][0])
        except (ConnectionError, asyncio.IncompleteReadError, h11.RemoteProtocolError):
            return None
        if head.status_code == 200:
            assert body == self.target, "the answer to another request"
        return int(head.status_code)


@dataclass(eq=False)
class Visit:
    """One execution of a request in a container."""

    container: Container
    number: int
    target: bytes
    action: asyncio.Future[tuple[str, bool]]
    over: bool = False  # whether its exchange is, though the handler may go on
    told: bool = False  # that its client is gone


class Outcomes(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.loop = uvloop.new_event_loop()
        self.calls: dict[bytes, Call] = {}
        self.running: dict[int, Visit] = {}
        self.executions: Counter[bytes] = Counter()
        self.cancelled_early: set[int] = set()
        self.do(self._start())

    def do(self, work):
        return self.loop.run_until_complete(work)

    def act(self, what: Callable[..., object], *arguments: object) -> None:
        """Do something on the loop, and see what comes of it."""

        async def acting() -> None:
            what(*arguments)

        self.do(acting())
        self.settle()

    async def _start(self) -> None:
        self.world = World(self.serve, scaling=SLOTS, timeout=TIMEOUT, clock=StandingClock())
        self.world.ends_when_cancelled = False
        await self.world.__aenter__()

    # -- the containers' side

    async def serve(self, connection: Connection) -> None:
        while (request := await connection.request()) is not None:
            number, connection.input_id = connection.input_id, None
            if number in self.cancelled_early:
                return
            action: asyncio.Future[tuple[str, bool]] = self.loop.create_future()
            visit = Visit(connection.container, number, bytes(request.target), action)
            self.running[number] = visit
            self.executions[visit.target] += 1
            try:
                what, late = await action
            except asyncio.CancelledError:  # the test is over
                return
            try:
                if not await self.perform(connection, visit, what):
                    return
            finally:
                visit.over = True
                if not late:
                    self.end(visit)

    async def perform(self, connection: Connection, visit: Visit, what: str) -> bool:
        """Do it; False where the connection is closed then."""
        call = self.calls[visit.target]
        if connection.writer.is_closing():
            return False
        upgrade = call.kind == "socket"
        if what == "die":
            connection.container.kill()
            return False
        if upgrade is not (what == "accept") and what in ("answer", "answer in chunks", "accept"):
            what = "hang up" if upgrade else "answer"
        if call.whole and not upgrade:
            await connection.body()
        body = visit.target
        if what == "accept":
            connection.raw(ACCEPTED)
            await connection.reader.read()
            return False
        if what in ("answer", "two answers"):
            answer = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)
            connection.raw(answer if what == "answer" else answer * 2)
        elif what == "answer in chunks":
            head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
            connection.raw(head + b"%x\r\n%b\r\n" % (len(body), body))
            await connection.writer.drain()
            connection.raw(b"0\r\n\r\n")
        elif what == "half a head":
            connection.raw(b"HTTP/1.1 200 OK\r\nContent-")
        elif what == "response begins":
            connection.raw(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n%b" % body)
        elif what == "garbage":
            connection.raw(b"what?\r\n\r\n")
        await connection.writer.drain()
        connection.h11 = h11.Connection(h11.SERVER)
        return call.whole and what in ("answer", "answer in chunks", "two answers")

    def end(self, visit: Visit) -> None:
        if self.running.pop(visit.number, None) is not None:
            visit.container.report(visit.number)

    def settle(self) -> None:
        for _ in range(4):
            self.do(asyncio.sleep(0.001))
            for container in self.world.containers:
                while not container.cancelled.empty():
                    number = container.cancelled.get_nowait()
                    if number in self.running:
                        self.running[number].told = True
                    else:
                        self.cancelled_early.add(number)
                        container.report(number)

    # -- what may happen

    @rule(kinds=st.lists(st.sampled_from(sorted(KINDS)), min_size=1, max_size=4))
    def requests(self, kinds: list[str]) -> None:
        for kind in kinds:
            self.send(kind)
        self.settle()

    def send(self, kind: str) -> None:
        target = b"/%d" % len(self.calls)
        call = Call(target, kind, self.do(self.world.connect()))
        self.calls[target] = call
        method, lines, body = KINDS[kind]
        if kind == "socket":
            call.client.send(HANDSHAKE.replace(b"/ws?x=1", target))
        else:
            if kind == "upload":
                call.whole, body = False, body[:4]
            call.client.send(
                b"%b %b HTTP/1.1\r\nHost: h\r\n%b\r\n%b" % (method.encode(), target, lines, body)
            )
        call.answer = self.loop.create_task(call.read())

    @property
    def uploads(self) -> list[Call]:
        return [c for c in self.calls.values() if not (c.whole or c.answer.done() or c.left)]

    # What is drawn must not depend on how far things have come, which a busy machine decides: so any number is
    # drawn, and picks one of those that there are.

    @rule(pick=PICKS)
    def rest_of_an_upload(self, pick: int) -> None:
        call = picked(self.uploads, pick)
        if call is None:
            return
        call.whole = True
        call.client.send(KINDS["upload"][2][4:])
        self.settle()

    @property
    def visits(self) -> list[Visit]:
        return [visit for visit in self.running.values() if not visit.action.done()]

    @rule(what=st.lists(st.tuples(st.sampled_from(ACTIONS), st.booleans()), min_size=1, max_size=4))
    def handlers_do_something(self, what: list[tuple[str, bool]]) -> None:
        for visit, action in zip(self.visits, what, strict=False):
            self.act(visit.action.set_result, action)

    @property
    def going_on(self) -> list[Visit]:
        return [visit for visit in self.running.values() if visit.over]

    @rule(pick=PICKS)
    def handler_ends_late(self, pick: int) -> None:
        visit = picked(self.going_on, pick)
        if visit is not None:
            self.act(self.end, visit)

    @property
    def open(self) -> list[Call]:
        return [c for c in self.calls.values() if not (c.left or c.answer.done())]

    @rule(pick=PICKS, reset=st.booleans())
    def client_leaves(self, pick: int, reset: bool) -> None:
        call = picked(self.open, pick)
        if call is None:
            return
        call.left = True
        self.act(call.client.writer.transport.abort if reset else call.client.close)

    @rule(pick=PICKS)
    def container_is_killed(self, pick: int) -> None:
        container = picked([c for c in self.world.containers if not c.dead], pick)
        if container is not None:
            self.act(container.kill)

    @rule(seconds=st.sampled_from([1.0, 2.0, TIMEOUT / 2, TIMEOUT + 1]))
    def time_passes(self, seconds: float) -> None:
        self.world.clock.now += seconds
        self.act(self.look_at_clock)

    def look_at_clock(self) -> None:
        for connection in tuple(self.world.gateway._connections):
            connection.look_at_clock(self.world.clock.now)

    # -- what always holds

    @invariant()
    def counters_are_exact(self) -> None:
        pool = self.world.pool
        stats = pool.stats
        assert 0 <= stats.running <= SLOTS.max_inputs * SLOTS.max_containers
        assert stats.waiting >= 0
        assert stats.running == sum(len(member.leases) for member in pool.members)
        assert len(pool.members) <= SLOTS.max_containers
        assert all(len(member.leases) <= SLOTS.max_inputs for member in pool.members)
        # A slot is never free while the handler that has it goes on.
        alive = {n for n, visit in self.running.items() if not visit.container.dead}
        assert alive <= {n for member in pool.members for n in member.leases}

    @invariant()
    def handlers_are_told_that_their_client_left(self) -> None:
        for visit in self.visits:
            call = self.calls[visit.target]
            if call.left and call.kind != "socket":
                assert visit.told or visit.container.dead

    @invariant()
    def nothing_is_executed_more_often_than_it_may_be(self) -> None:
        for target, count in self.executions.items():
            method = KINDS[self.calls[target].kind][0].encode()
            assert count <= (2 if method in IDEMPOTENT else 1), target

    def teardown(self) -> None:
        try:
            self.do(asyncio.wait_for(self.finish(), DEADLINE))
        finally:
            self.do(self.world.__aexit__())
            self.do(self.cancel_all())
            self.loop.close()

    async def cancel_all(self) -> None:
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def finish(self) -> None:
        """Every handler comes to its end, and every client has its answer or leaves."""
        for call in self.calls.values():
            if call.kind == "socket" or not call.whole:
                call.left = True
                call.client.close()
        while self.running or self.world.pool.busy or not all(c.answer.done() for c in self.open):
            for visit in tuple(self.running.values()):
                if visit.container.dead:
                    del self.running[visit.number]
                elif visit.over:
                    self.end(visit)
                elif not visit.action.done():
                    visit.action.set_result(("answer", False))
            for container in self.world.containers:
                while not container.cancelled.empty():
                    number = container.cancelled.get_nowait()
                    if number not in self.running:
                        container.report(number)
            await asyncio.sleep(0.002)
        for call in self.calls.values():
            status = await call.answer if not call.left else None
            if call.left:
                call.answer.cancel()
            elif status is not None:
                assert status in (101, 200, 502, 503, 504), status
                assert not await self.more(call), "something behind the answer"
        stats = self.world.pool.stats
        assert (stats.running, stats.waiting) == (0, 0)
        idle = sum(map(len, self.world.gateway.dialer._idle.values()))
        while self.world.gateway.dialer.open != idle:  # those that are closed go in a moment
            await asyncio.sleep(0.002)
            idle = sum(map(len, self.world.gateway.dialer._idle.values()))
        assert not self.world.gateway._tasks

    async def more(self, call: Call) -> bytes:
        """What came behind the answer."""
        trailing, _ = call.client.h11.trailing_data
        return trailing


TestOutcomes = Outcomes.TestCase
TestOutcomes.settings = settings(
    max_examples=40,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)


def test_ten_thousand_requests_at_once_wait_or_are_refused_and_leave_nothing():
    ready = asyncio.Event()

    async def handler(connection: Connection) -> None:
        await ready.wait()
        await hello(connection)

    async def test():
        async with World(handler, scaling=Scaling(max_inputs=10, max_containers=1)) as world:
            await world.pool.prepare(1)
            clients: list[tuple[ClientConnection, Transport]] = []
            for _ in range(10_000):
                transport = Transport()
                client = ClientConnection(world.gateway, world.own_port)
                transport.connect(client)
                client.data_received(GET)
                clients.append((client, transport))

            def statuses() -> Counter[bytes]:
                return Counter(bytes(t.written[9:12]) for _, t in clients)

            async with asyncio.timeout(DEADLINE):
                while statuses()[b"429"] < 7_990:
                    await asyncio.sleep(0.01)
            assert all(
                b"retry-after: " in t.written for _, t in clients if t.written[9:12] == b"429"
            )
            stats = world.pool.stats
            assert (stats.running, stats.waiting) == (10, 2_000)
            waiting = [client for client, transport in clients if not transport.written]
            for client in waiting[1_010::2]:  # every second one leaves the second half of the queue
                client.connection_lost(None)
            ready.set()
            async with asyncio.timeout(DEADLINE):
                while statuses() != {b"429": 7_990, b"200": 1_510, b"": 500}:
                    await asyncio.sleep(0.01)
            await world.idle()
            assert len(world.requests) == 1_510
            assert (world.pool.stats.running, world.pool.stats.waiting) == (0, 0)
            assert not world.gateway._tasks
            assert world.gateway.dialer.open <= MAX_IDLE

    run(test)
