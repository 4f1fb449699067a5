from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from pools.fakes import FakeClock, FakeEngine, function, spec
from portico.pools.errors import PoolStopped, QueueFull, StartFailed, StartTimeout
from portico.pools.member import Lease, Member
from portico.pools.overtime import GRACE, INTERVAL
from portico.pools.pool import Pool
from portico.pools.waiter import WaitingRoom
from portico.wire.manifest import Scaling


class World:
    def __init__(self, scaling: Scaling | None = None, max_waiting: int = 2000, **fields: object):
        self.clock = FakeClock()
        self.engine = FakeEngine()
        self.room = WaitingRoom(max_waiting)
        self.overrun: list[Member] = []
        self.pool = Pool(
            function(scaling, **fields),
            self.engine,
            spec,
            clock=self.clock,
            waiting_room=self.room,
            on_overrun=self.overrun.append,
        )

    @property
    def containers(self):
        return self.engine.containers


async def settle() -> None:
    """Let callbacks that are due run."""
    for _ in range(5):
        await asyncio.sleep(0)


def run(test: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(test())


def test_first_input_starts_a_container_in_the_same_tick_and_waits_for_it():
    async def test():
        world = World()
        waiting = asyncio.create_task(world.pool.acquire())
        await settle()
        assert len(world.containers) == 1
        assert not waiting.done()
        world.containers[0].become_ready()
        lease = await waiting
        assert lease.cold_start is not None
        assert set(lease.cold_start.phases) == {"queue", "boot", "import"}

    run(test)


def test_queue_is_first_come_first_served():
    async def test():
        world = World(Scaling(max_containers=1))
        order: list[int] = []

        async def one(number: int) -> None:
            lease = await world.pool.acquire()
            order.append(number)
            lease.member.ended((lease.input_id,))

        tasks = []
        for number in range(20):
            tasks.append(asyncio.create_task(one(number)))
            await settle()
        world.containers[0].become_ready()
        await asyncio.gather(*tasks)
        assert order == list(range(20))
        assert world.pool.stats.running == world.pool.stats.waiting == 0

    run(test)


def test_slot_is_free_only_when_the_container_says_that_the_input_has_ended():
    async def test():
        world = World()
        first = asyncio.create_task(world.pool.acquire())
        await settle()
        world.containers[0].become_ready()
        lease = await first
        lease.finish()
        assert world.pool.try_acquire() is None
        lease.member.ended((lease.input_id,))
        assert world.pool.try_acquire() is not None

    run(test)


def test_max_containers_bounds_a_burst_of_10_000():
    async def test():
        world = World(Scaling(max_containers=3, max_inputs=2), max_waiting=10_000)
        tasks = [asyncio.create_task(world.pool.acquire()) for _ in range(10_000)]
        await settle()
        assert len(world.containers) == 3
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert world.pool.stats.waiting == 0

    run(test)


def test_more_inputs_than_may_wait_are_refused_at_once():
    async def test():
        world = World(max_waiting=2)
        tasks = [asyncio.create_task(world.pool.acquire()) for _ in range(2)]
        await settle()
        with pytest.raises(QueueFull):
            await world.pool.acquire()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    run(test)


def test_cancelled_waiter_passes_a_slot_granted_in_the_same_tick_on():
    async def test():
        world = World(Scaling(max_containers=1))
        first = asyncio.create_task(world.pool.acquire())
        second = asyncio.create_task(world.pool.acquire())
        await settle()
        world.containers[0].become_ready()
        first.cancel()
        lease = await second
        assert first.cancelled() or (await asyncio.gather(first, return_exceptions=True))
        assert lease.member.leases == {lease.input_id: lease}
        assert world.pool.stats.running == 1

    run(test)


def test_failed_start_answers_all_that_wait_at_once_and_backs_off():
    async def test():
        world = World()
        tasks = [asyncio.create_task(world.pool.acquire()) for _ in range(3)]
        await settle()
        for container in list(world.containers):
            container.fail("ModuleNotFoundError", "Traceback …")
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(isinstance(r, StartFailed) and r.traceback == "Traceback …" for r in results)
        started = len(world.containers)
        with pytest.raises(StartFailed):
            await world.pool.acquire()
        assert len(world.containers) == started
        world.clock.advance(61)
        retry = asyncio.create_task(world.pool.acquire())
        await settle()
        assert len(world.containers) == started + 1
        world.containers[-1].become_ready()
        await retry

    run(test)


def test_failed_start_beside_a_ready_container_leaves_the_queue_waiting():
    async def test():
        world = World(Scaling(max_containers=2))
        first = asyncio.create_task(world.pool.acquire())
        await settle()
        world.containers[0].become_ready()
        lease = await first
        second = asyncio.create_task(world.pool.acquire())
        await settle()
        world.containers[1].fail()
        await settle()
        assert not second.done()
        lease.member.ended((lease.input_id,))
        await second

    run(test)


def test_wait_is_bounded_by_startup_timeout():
    async def test():
        world = World(startup_timeout=0.01)
        with pytest.raises(StartTimeout):
            await world.pool.acquire()
        assert world.pool.stats.waiting == 0

    run(test)


def test_idle_container_is_stopped_after_the_window_and_not_before():
    async def test():
        world = World(Scaling(scaledown_window=60))
        task = asyncio.create_task(world.pool.acquire())
        await settle()
        (container,) = world.containers
        container.become_ready()
        lease = await task
        world.clock.advance(600)
        assert container.stopped == []
        lease.member.ended((lease.input_id,))
        world.clock.advance(59)
        assert container.stopped == []
        world.clock.advance(2)
        assert container.stopped == [30.0]
        assert world.pool.try_acquire() is None

    run(test)


def test_dead_container_frees_its_slots_and_tells_its_inputs():
    async def test():
        world = World()
        task = asyncio.create_task(world.pool.acquire())
        await settle()
        world.containers[0].become_ready()
        lease = await task
        reasons: list[str] = []
        lease.on_lost = reasons.append
        world.containers[0].die()
        assert reasons == ["killed by signal 9"]
        assert world.pool.stats.running == 0
        again = asyncio.create_task(world.pool.acquire())
        await settle()
        assert len(world.containers) == 2
        world.containers[1].become_ready()
        await again

    run(test)


def test_container_is_asked_after_inputs_whose_end_it_never_reported():
    async def test():
        world = World(Scaling(max_inputs=10))
        task = asyncio.create_task(world.pool.acquire())
        await settle()
        (container,) = world.containers
        container.become_ready()
        kept, lost = await task, world.pool.try_acquire()
        other = world.pool.try_acquire()
        lost.finish()
        other.member.ended((other.input_id,))
        world.clock.advance(5)
        assert container.probed
        assert set(container.probed) == {lost.input_id}
        assert kept.input_id not in container.cancelled

    run(test)


def test_hand_over_moves_the_queue_and_drains_what_runs():
    async def test():
        old = World(Scaling(max_containers=1))
        new = World(Scaling(max_containers=1))
        first = asyncio.create_task(old.pool.acquire())
        await settle()
        old.containers[0].become_ready()
        running = await first
        retired: list[bool] = []
        running.on_retire = lambda: retired.append(True)
        waiting = asyncio.create_task(old.pool.acquire())
        await settle()
        preparing = asyncio.create_task(new.pool.prepare(1))
        await settle()
        new.containers[0].become_ready()
        await preparing
        old.pool.hand_over(lambda: new.pool, socket_grace=5)
        moved = await waiting
        assert moved.member is new.pool.members[0]
        assert old.containers[0].stopped == []
        old.clock.advance(6)
        assert retired == [True]
        running.member.ended((running.input_id,))
        assert old.containers[0].stopped == [30.0]
        old.containers[0].die(0)
        await old.pool.gone()

    run(test)


def test_prepare_reports_why_the_new_version_does_not_start():
    async def test():
        world = World()
        preparing = asyncio.create_task(world.pool.prepare(1))
        await settle()
        world.containers[0].fail("boom", "tb")
        with pytest.raises(StartFailed, match="boom"):
            await preparing

    run(test)


def test_stop_refuses_the_queue_and_ends_the_containers():
    async def test():
        world = World(Scaling(max_containers=1))
        first = asyncio.create_task(world.pool.acquire())
        await settle()
        world.containers[0].become_ready()
        await first
        waiting = asyncio.create_task(world.pool.acquire())
        await settle()
        world.pool.stop(3.0)
        with pytest.raises(PoolStopped):
            await waiting
        with pytest.raises(PoolStopped):
            await world.pool.acquire()
        assert world.containers[0].stopped == [3.0]

    run(test)


def test_container_that_does_not_know_its_inputs_is_told_to_end_after_the_last_of_them():
    async def test():
        world = World(Scaling(max_inputs=2))
        first, second = (asyncio.create_task(world.pool.acquire()) for _ in range(2))
        await settle()
        container = world.containers[0]
        container.become_ready(reports_end=False)
        leases = await first, await second
        for lease in leases:
            lease.address("")
        world.pool.stop(3.0)
        assert container.stopped == []
        leases[0].finish()
        assert container.stopped == []
        world.clock.advance(1)
        leases[1].finish()
        assert container.stopped == [2.0]
        world.clock.advance(60)
        assert container.stopped == [2.0]
        container.die(0)
        assert world.pool.stats.running == 0

    run(test)


@pytest.mark.parametrize("end", ["grace", "shorter", "unreachable", "death"])
def test_inputs_that_never_end_hold_such_a_container_only_so_long(end):
    async def test():
        world = World()
        acquired = asyncio.create_task(world.pool.acquire())
        await settle()
        container = world.containers[0]
        container.become_ready(reports_end=False)
        lease = await acquired
        lease.address("")
        world.pool.stop(3.0)
        if end == "grace":
            world.clock.advance(1.9)
            assert container.stopped == []
            world.clock.advance(0.2)
        elif end == "shorter":
            world.pool.stop(1.5)
            world.clock.advance(1.1)
        elif end == "unreachable":
            lease.container_unreachable()
        else:
            container.die()
            world.clock.advance(60)
        expected = {"grace": [1.0], "shorter": [0.5], "unreachable": [0.0], "death": []}
        assert container.stopped == pytest.approx(expected[end])

    run(test)


def test_input_that_found_nobody_there_asks_for_one_container_only():
    async def test():
        world = World()
        first = asyncio.create_task(world.pool.acquire())
        await settle()
        world.containers[0].become_ready()
        (await first).container_unreachable()
        again = asyncio.create_task(world.pool.acquire())
        await settle()
        assert world.containers[0].stopped == [0.0]
        assert len(world.containers) == 2
        world.containers[1].become_ready()
        await again
        world.containers[0].die()
        assert world.pool.stats.running == 1
        assert len(world.containers) == 2

    run(test)


def test_min_containers_are_kept():
    async def test():
        world = World(Scaling(min_containers=2))
        world.pool.start()
        assert len(world.containers) == 2
        for container in list(world.containers):
            container.become_ready()
        world.containers[0].die()
        world.clock.advance(2)
        assert len(world.containers) == 3

    run(test)


def test_containers_that_die_right_after_their_start_do_not_make_a_hot_loop():
    async def test():
        world = World(Scaling(min_containers=1))
        world.pool.start()
        for _ in range(20):
            if world.pool.members:
                world.containers[-1].become_ready()
                world.containers[-1].die()
            world.clock.advance(1)
        assert len(world.containers) < 8
        world.clock.advance(61)
        world.containers[-1].become_ready()
        assert world.pool.stats.ready == 1

    run(test)


def test_ending_containers_count_against_the_ceiling():
    async def test():
        world = World(Scaling(max_containers=1))
        first = asyncio.create_task(world.pool.acquire())
        await settle()
        world.containers[0].become_ready()
        lease = await first
        world.pool.stop_container(lease.member.id)
        second = asyncio.create_task(world.pool.acquire())
        await settle()
        assert len(world.containers) == 1
        lease.member.ended((lease.input_id,))
        assert world.containers[0].stopped
        world.containers[0].die(0)
        assert len(world.containers) == 2
        world.containers[1].become_ready()
        await second

    run(test)


def test_prepare_replaces_what_it_loses_meanwhile():
    async def test():
        world = World(Scaling(scaledown_window=1))
        preparing = asyncio.create_task(world.pool.prepare(2))
        await settle()
        world.containers[0].become_ready()
        world.clock.advance(30)  # an idle one is not let go while it is being prepared
        assert world.containers[0].stopped == []
        world.pool.stop_container(world.containers[0].listener.id)
        await settle()
        assert len(world.containers) == 3
        for container in world.containers[1:]:
            container.become_ready()
        await preparing

    run(test)


def test_prepare_is_bounded_and_ends_with_its_pool():
    async def test():
        with pytest.raises(StartTimeout):
            await World(startup_timeout=0.01).pool.prepare(1)
        world = World()
        preparing = asyncio.create_task(world.pool.prepare(1))
        await settle()
        world.pool.stop()
        with pytest.raises(PoolStopped):
            await preparing

    run(test)


def test_input_that_comes_to_a_replaced_pool_goes_to_its_successor():
    async def test():
        old, new = World(), World()
        old.pool.hand_over(lambda: new.pool, 0)
        late = asyncio.create_task(old.pool.acquire())
        await settle()
        new.containers[0].become_ready()
        assert (await late).member.owner is new.pool

    run(test)


class PoolMachine(RuleBasedStateMachine):
    """Any mix of arrivals, departures, ends, deaths and failures: the counters follow exactly."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.world = self.loop.run_until_complete(self._make())
        self.tasks: list[asyncio.Task[Lease]] = []
        self.leases: list[Lease] = []

    async def _make(self) -> World:
        return World(Scaling(max_containers=3, max_inputs=2, scaledown_window=10), max_waiting=5)

    def settle(self) -> None:
        self.loop.run_until_complete(settle())
        for task in [t for t in self.tasks if t.done()]:
            self.tasks.remove(task)
            if not task.cancelled() and task.exception() is None:
                self.leases.append(task.result())
        self.leases = [x for x in self.leases if x.input_id in x.member.leases]

    @rule()
    def arrive(self) -> None:
        self.tasks.append(self.loop.create_task(self.world.pool.acquire()))
        self.settle()

    @precondition(lambda self: self.tasks)
    @rule(data=st.data())
    def leave_queue(self, data: st.DataObject) -> None:
        data.draw(st.sampled_from(self.tasks)).cancel()
        if data.draw(st.booleans()):
            self._some_container(data, "become_ready")
        self.settle()

    @precondition(lambda self: self.leases)
    @rule(data=st.data())
    def end(self, data: st.DataObject) -> None:
        lease = data.draw(st.sampled_from(self.leases))
        lease.finish()
        lease.member.ended((lease.input_id, lease.input_id))
        self.settle()

    @precondition(lambda self: self.leases)
    @rule(data=st.data(), patience=st.sampled_from([None, 0.0, 3.0]))
    def go_on_behind_the_exchange(self, data: st.DataObject, patience: float | None) -> None:
        lease = data.draw(st.sampled_from(self.leases))
        if patience is None:
            lease.finish()
        else:
            lease.cancel(patience)
        self.settle()

    @precondition(lambda self: self.world.pool.members)
    @rule(data=st.data())
    def stop_container(self, data: st.DataObject) -> None:
        self.world.pool.stop_container(data.draw(st.sampled_from(self.world.pool.members)).id)
        self.settle()

    @rule(data=st.data(), what=st.sampled_from(["become_ready", "die", "fail"]))
    def container(self, data: st.DataObject, what: str) -> None:
        self._some_container(data, what)
        self.settle()

    def _some_container(self, data: st.DataObject, what: str) -> None:
        alive = [c for c in self.world.containers if c.listener.id in self.world.pool._members]
        if alive:
            getattr(data.draw(st.sampled_from(alive)), what)()

    @rule(seconds=st.sampled_from([0.5, 5, 20, 100]))
    def time_passes(self, seconds: float) -> None:
        self.world.clock.advance(seconds)
        self.settle()

    @invariant()
    def counters_are_exact(self) -> None:
        stats = self.world.pool.stats
        assert stats.running == len(self.leases)
        assert self.world.room.taken == stats.waiting == len(self.tasks) <= 5
        assert stats.running == sum(len(m.leases) for m in self.world.pool.members)
        assert stats.starting + stats.ready <= 3
        assert all(len(m.leases) <= 2 for m in self.world.pool.members)
        assert len(self.world.pool.members) <= 3
        late = self.world.clock.now - GRACE - INTERVAL
        assert not any(x.member.live for x in self.leases if x.due <= late)
        if stats.waiting:
            assert not any(m.free > 0 for m in self.world.pool.members)

    def teardown(self) -> None:
        for task in self.tasks:
            task.cancel()
        self.settle()
        for lease in list(self.leases):
            lease.member.ended((lease.input_id,))
        stats = self.world.pool.stats
        assert (stats.running, stats.waiting, self.world.room.taken) == (0, 0, 0)
        self.loop.close()


TestPoolMachine = PoolMachine.TestCase
TestPoolMachine.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
