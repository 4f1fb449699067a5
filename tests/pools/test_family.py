"""The pools of a parametrized class: which request goes where, which pool goes, and who takes over."""

from __future__ import annotations

import asyncio
import tracemalloc
from collections.abc import Mapping

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from pools.fakes import FakeClock, FakeContainer, FakeEngine, function, spec
from portico.pools.errors import BadParameter, PoolsInUse, PoolStopped, QueueFull, StartFailed
from portico.pools.family import LONGEST_QUERY, MAX_POOLS, MAX_QUERIES, PoolFamily
from portico.pools.member import Lease
from portico.pools.pool import Pool
from portico.pools.waiter import MAX_WAITING, WaitingRoom
from portico.wire.manifest import ParameterSpec, ParameterValue, Scaling

N = ParameterSpec(name="n", type="int")
ROOT = ParameterSpec(name="root", type="str", required=False, default=".")


class World:
    """A family on an engine and a clock that the test moves."""

    def __init__(
        self,
        *parameters: ParameterSpec,
        max_pools: int = MAX_POOLS,
        scaling: Scaling | None = None,
        clock: FakeClock | None = None,
        max_waiting: int = MAX_WAITING,
    ) -> None:
        self.clock = clock or FakeClock()
        self.engine = FakeEngine()
        self.made: list[Pool] = []
        self.room = WaitingRoom(max_waiting)
        declared = function(scaling, parameters=parameters, is_class=True)

        def make_pool(values: Mapping[str, ParameterValue]) -> Pool:
            pool = Pool(
                declared,
                self.engine,
                spec,
                parameters=values,
                clock=self.clock,
                waiting_room=self.room,
            )
            self.made.append(pool)
            return pool

        self.family = PoolFamily(declared, make_pool, max_pools=max_pools)

    @property
    def containers(self) -> list[FakeContainer]:
        return self.engine.containers

    def ask(self, query: bytes) -> asyncio.Task[Lease]:
        """A request, as the gateway makes it."""
        return asyncio.ensure_future(self.family.for_query(query).acquire())

    async def serve(self, query: bytes) -> Lease:
        """A request that runs."""
        task = self.ask(query)
        await settle()
        for member in self.family.for_query(query).members:
            member.container.become_ready()
        return await task

    async def use(self, query: bytes) -> Pool:
        """A request that has come and ended a second ago."""
        lease = await self.serve(query)
        end(lease)
        self.clock.advance(1)
        return self.family.for_query(query)


def end(lease: Lease) -> None:
    lease.member.ended((lease.input_id,))


async def settle() -> None:
    """Let callbacks that are due run."""
    for _ in range(5):
        await asyncio.sleep(0)


def run(test) -> None:
    asyncio.run(test())


def test_values_have_a_pool_each_whatever_their_spelling():
    async def test():
        family = World(N, ROOT).family
        pool = family.for_query(b"n=1")
        for query in (b"root=.&n=1", b"n=01&root=%2e", b"page=3&n=1&root=.&n=2"):
            assert family.for_query(query) is pool
        assert family.for_values({"n": 1}) is family.for_values({"root": ".", "n": 1}) is pool
        for query in (b"n=2", b"n=1&root=", b"n=1&root=.."):
            assert family.for_query(query) is not pool
        assert len(family.pools) == 4
        assert pool.parameters == {"n": 1, "root": "."}

    run(test)


def test_a_refused_query_makes_no_pool():
    async def test():
        world = World(N)
        for _ in range(2):
            for query in (b"", b"n=x"):
                with pytest.raises(BadParameter):
                    world.family.for_query(query)
        assert world.made == []

    run(test)


def test_a_function_without_parameters_has_one_pool_for_every_query():
    async def test():
        world = World()
        assert world.family.for_query(b"") is world.family.for_query(b"n=1")
        assert world.family.for_values({}) is world.family.for_query(b"")
        with pytest.raises(BadParameter, match="'n'"):
            world.family.for_values({"n": 1})
        assert world.containers == []

    run(test)


# ---- the bound


def test_beyond_the_bound_the_pool_goes_that_has_been_idle_longest():
    async def test():
        world = World(N, max_pools=3)
        for number in (1, 2, 3):
            await world.use(b"n=%d" % number)
        long_running = await world.serve(b"n=1")
        await world.use(b"n=2")
        end(long_running)  # asked for before 2, and idle after it
        world.clock.advance(1)
        first, second, third = world.containers
        await world.use(b"n=4")
        assert third.stopped
        assert not first.stopped
        assert not second.stopped
        await world.use(b"n=5")
        assert second.stopped
        assert not first.stopped

    run(test)


def test_a_replaced_container_is_no_use_of_its_pool():
    async def test():
        world = World(N, max_pools=2, scaling=Scaling(min_containers=1))
        await world.use(b"n=1")
        await world.use(b"n=2")
        world.containers[0].die()
        world.clock.advance(5)
        world.containers[-1].become_ready()
        assert len(world.containers) == 3
        await world.use(b"n=3")
        assert world.containers[2].stopped
        assert not world.containers[1].stopped

    run(test)


def test_a_client_that_gave_up_waiting_counts_as_use():
    async def test():
        world = World(N, max_pools=2)
        waiting = world.ask(b"n=1")
        await settle()
        await world.use(b"n=2")
        waiting.cancel()
        await settle()
        world.clock.advance(1)
        await world.use(b"n=3")
        assert world.containers[1].stopped

    run(test)


def test_where_every_pool_is_busy_new_values_are_refused_and_nothing_is_ended():
    async def test():
        world = World(N, max_pools=2)
        running = await world.serve(b"n=1")
        waiting = world.ask(b"n=2")
        await settle()
        for _ in range(2):
            with pytest.raises(PoolsInUse) as raised:
                world.family.for_query(b"n=3")
        assert raised.value.retry_after > 0
        assert not any(container.stopped for container in world.containers)
        assert not waiting.done()
        end(running)
        assert world.family.for_query(b"n=3").parameters == {"n": 3}
        assert world.containers[0].stopped
        world.containers[1].become_ready()
        end(await waiting)

    run(test)


def test_inputs_that_wait_are_bounded_for_the_function_and_not_for_each_of_its_pools():
    async def test():
        old, new = World(N, max_waiting=3), World(N, max_waiting=3)
        waiting = [old.ask(b"n=1"), old.ask(b"n=1"), old.ask(b"n=2")]
        await settle()
        for query in (b"n=1", b"n=2", b"n=3"):
            with pytest.raises(QueueFull, match="3 inputs are waiting"):
                await old.ask(query)
        waiting.pop().cancel()
        await settle()
        waiting.append(old.ask(b"n=3"))
        await settle()
        old.family.hand_over(new.family, 0.0)
        assert (old.room.taken, new.room.taken) == (0, 3)
        for container in new.containers:
            container.become_ready()
        end(await waiting[0])  # and its slot goes to the next
        for lease in await asyncio.gather(*waiting[1:]):
            end(lease)
        assert new.room.taken == 0

    run(test)


def test_a_query_does_not_lead_to_a_pool_that_went():
    async def test():
        world = World(N, max_pools=1)
        old = world.family.for_query(b"n=1")
        world.family.for_query(b"n=2")
        new = world.family.for_query(b"n=1")
        assert new is not old
        lease = await world.serve(b"n=1")
        assert lease.member.owner is new

    run(test)


def test_an_input_on_its_way_to_a_pool_that_goes_finds_the_next_one():
    async def test():
        world = World(N, max_pools=2)
        # All in one tick: none of them has joined a queue when the next one is told its pool.
        tasks = [world.ask(b"n=%d" % number) for number in range(4)]
        await settle()
        for container in world.containers:
            container.become_ready()
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [Lease, Lease, PoolsInUse, PoolsInUse]
        assert [outcome.member.owner.parameters["n"] for outcome in outcomes[:2]] == [0, 1]
        assert len(world.containers) == 2

    run(test)


def test_the_default_pool_is_kept_warm_and_every_other_once_it_is_made():
    async def test():
        warm = World(ROOT, scaling=Scaling(min_containers=1))
        warm.family.start()
        assert len(warm.containers) == 1
        warm.family.for_query(b"root=/")
        assert len(warm.containers) == 2
        # Without defaults there is nothing to keep before somebody names values.
        unknown = World(N, scaling=Scaling(min_containers=1))
        unknown.family.start()
        assert unknown.containers == []

    run(test)


def test_a_thousand_pools_at_rest_take_little_memory_and_no_time():
    async def test():
        world = World(ROOT)
        world.family.for_query(b"root=warm-up")
        tracemalloc.start()
        for number in range(MAX_POOLS - 1):
            world.family.for_query(b"root=%d" % number)
        size, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert len(world.family.pools) == MAX_POOLS
        assert size < MAX_POOLS * 8192
        for query in (b"root=1", b"root=2"):
            await world.use(query)
        world.clock.advance(3600)
        for container in world.containers:
            assert container.stopped
            container.die(0)
        assert [timer for timer in world.clock.timers if not timer.cancelled] == []
        world.family.for_query(b"root=one+more")
        assert len(world.family.pools) == MAX_POOLS

    run(test)


def test_remembered_queries_are_bounded():
    async def test():
        world = World(ROOT)
        pool = world.family.for_query(b"")
        for number in range(MAX_QUERIES + 10):
            assert world.family.for_query(b"page=%d" % number) is pool
        long = b"page=" + b"x" * LONGEST_QUERY
        assert world.family.for_query(long) is pool
        assert len(world.family._by_query) <= MAX_QUERIES
        assert long not in world.family._by_query

    run(test)


# ---- the next version


def test_values_in_use_are_made_ready_and_their_queues_handed_over():
    async def test():
        old, new = World(N, ROOT, scaling=Scaling(max_containers=1)), World(N)
        running = await old.serve(b"n=1&root=/")
        waiting = old.ask(b"n=1&root=/")
        also = await old.serve(b"n=1&root=a")  # the new version sees no difference
        failing = old.ask(b"n=2")
        await settle()
        old.containers[-1].fail()
        with pytest.raises(StartFailed):
            await failing
        wanted = new.family.wanted_after(old.family)
        assert {pool.parameters["n"]: count for pool, count in wanted.items()} == {1: 2}
        old.family.hand_over(new.family, 0)
        await settle()
        for container in new.containers:
            container.become_ready()
        moved = await waiting
        assert moved.member.owner is new.family.for_query(b"n=1")
        assert not any(container.stopped for container in old.containers[:2])
        for lease in (running, also):
            end(lease)
        assert all(container.stopped for container in old.containers[:2])
        # Whoever holds on to the old version is led to the new one.
        assert old.family.for_query(b"n=5&root=q") is new.family.for_query(b"n=5")
        assert old.family.for_values({"n": 5}) is new.family.for_query(b"n=5")

    run(test)


def test_values_that_the_next_version_does_not_take_are_refused_by_name_and_finish_what_runs():
    async def test():
        old = World(N, scaling=Scaling(max_containers=1))
        new = World(ParameterSpec(name="n", type="bool"))
        running = await old.serve(b"n=1")
        waiting = old.ask(b"n=1")
        await settle()
        assert new.family.wanted_after(old.family) == {}
        old.family.hand_over(new.family, 0)
        with pytest.raises(BadParameter, match="'n' must be bool"):
            await waiting
        old.clock.advance(60)
        assert not old.containers[0].stopped
        end(running)
        assert old.containers[0].stopped
        assert old.family.for_query(b"n=true").parameters == {"n": True}

    run(test)


def test_without_a_next_version_waiting_inputs_are_refused_and_running_ones_finish():
    async def test():
        world = World(N, scaling=Scaling(max_containers=1))
        running = await world.serve(b"n=1")
        waiting = world.ask(b"n=1")
        await settle()
        world.family.hand_over(None, 0)
        with pytest.raises(PoolStopped):
            await waiting
        for query in (b"n=1", b"n=2"):
            with pytest.raises(PoolStopped):
                world.family.for_query(query)
        assert not world.containers[0].stopped
        end(running)
        assert world.containers[0].stopped

    run(test)


def test_a_stopped_family_makes_no_pool_any_more():
    async def test():
        world = World(N, max_pools=1)
        await world.serve(b"n=1")
        world.family.stop(2.0)
        assert world.containers[0].stopped == [2.0]
        with pytest.raises(PoolStopped):
            world.family.for_query(b"n=2")

    run(test)


class FamilyMachine(RuleBasedStateMachine):
    """Any mix of arrivals, ends, deaths and pauses over more values than there may be pools."""

    MOST = 3

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        scaling = Scaling(max_containers=2, max_inputs=2, scaledown_window=10)
        self.world = self.loop.run_until_complete(self._make(scaling))
        self.tasks: list[tuple[int, asyncio.Task[Lease]]] = []
        self.leases: list[tuple[int, Lease]] = []
        self.idle_since: dict[int, float] = {}
        """The model: what pools there are, and since when those without inputs have none."""

    async def _make(self, scaling: Scaling) -> World:
        return World(N, max_pools=self.MOST, scaling=scaling)

    def settle(self) -> None:
        self.loop.run_until_complete(settle())
        for number, task in [pair for pair in self.tasks if pair[1].done()]:
            self.tasks.remove((number, task))
            if not task.cancelled() and task.exception() is None:
                self.leases.append((number, task.result()))
        self.leases = [(n, x) for n, x in self.leases if x.input_id in x.member.leases]
        for number in self.busy:
            self.idle_since[number] = self.world.clock.now

    @property
    def busy(self) -> set[int]:
        return {number for number, _ in (*self.tasks, *self.leases)}

    def tick(self, seconds: float = 1) -> None:
        """No two things happen at one time, so that there is always one that is idle longest."""
        self.settle()
        self.world.clock.advance(seconds)
        self.settle()

    @rule(number=st.integers(1, 6))
    def arrive(self, number: int) -> None:
        self.tick()
        if number not in self.idle_since and len(self.idle_since) == self.MOST:
            idle = self.idle_since.keys() - self.busy
            if not idle:
                with pytest.raises(PoolsInUse):
                    self.world.family.for_query(b"n=%d" % number)
                return
            del self.idle_since[min(idle, key=self.idle_since.__getitem__)]
        pool = self.world.family.for_query(b"n=%d" % number)
        assert pool.parameters == {"n": number}
        self.tasks.append((number, self.loop.create_task(pool.acquire())))
        self.settle()
        self.idle_since.setdefault(number, self.world.clock.now)

    @precondition(lambda self: self.tasks)
    @rule(data=st.data())
    def leave_queue(self, data: st.DataObject) -> None:
        self.tick()
        data.draw(st.sampled_from(self.tasks))[1].cancel()
        now_idle = self.busy
        self.settle()
        self._note(now_idle)

    @precondition(lambda self: self.leases)
    @rule(data=st.data())
    def end(self, data: st.DataObject) -> None:
        self.tick()
        now_idle = self.busy
        end(data.draw(st.sampled_from(self.leases))[1])
        self.settle()
        self._note(now_idle)

    @rule(data=st.data(), what=st.sampled_from(["become_ready", "become_ready", "die", "fail"]))
    def container(self, data: st.DataObject, what: str) -> None:
        self.tick()
        members = {m.id for pool in self.world.family.pools for m in pool.members}
        alive = [c for c in self.world.containers if c.listener.id in members]
        now_idle = self.busy
        if alive:
            getattr(data.draw(st.sampled_from(alive)), what)()
        self.settle()
        self._note(now_idle)

    def _note(self, before: set[int]) -> None:
        for number in before - self.busy:
            self.idle_since[number] = self.world.clock.now

    @rule(seconds=st.sampled_from([0.5, 5, 20, 100]))
    def time_passes(self, seconds: float) -> None:
        self.tick(seconds)

    @invariant()
    def pools_are_those_of_the_model(self) -> None:
        live = {key[0] for key in self.world.family._pools}
        assert live == self.idle_since.keys()
        assert len(live) <= self.MOST
        assert self.busy <= live

    @invariant()
    def those_that_wait_are_counted_once_in_all(self) -> None:
        waiting = sum(pool.stats.waiting for pool in self.world.family.pools)
        assert self.world.room.taken == waiting == len(self.tasks)

    @invariant()
    def no_container_with_an_input_was_told_to_stop(self) -> None:
        for _, lease in self.leases:
            assert not lease.member.container.stopped

    def teardown(self) -> None:
        for _, task in self.tasks:
            task.cancel()
        for _, lease in list(self.leases):
            end(lease)
        self.settle()
        stats = [pool.stats for pool in self.world.family.pools]
        assert all((s.running, s.waiting) == (0, 0) for s in stats)
        assert self.world.room.taken == 0
        self.loop.close()


TestFamilyMachine = FamilyMachine.TestCase
TestFamilyMachine.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
