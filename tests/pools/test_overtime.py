"""Inputs that go on behind their exchange, and what they cost."""

from __future__ import annotations

import asyncio

import pytest

from pools.fakes import FakeContainer
from pools.test_pool import World, run, settle
from portico.pools.member import STOP_GRACE, Lease
from portico.pools.overtime import GRACE, INTERVAL, STUCK_GRACE
from portico.wire.manifest import Scaling

SOON = GRACE + INTERVAL  # seconds after which an input that is due has cost its container


async def started(world: World, inputs: int = 1) -> tuple[FakeContainer, list[Lease]]:
    """A container with so many inputs in it."""
    tasks = [asyncio.create_task(world.pool.acquire()) for _ in range(inputs)]
    await settle()
    container = world.containers[-1]
    container.become_ready()
    leases = await asyncio.gather(*tasks)
    for lease in leases:
        lease.address("")
    return container, leases


@pytest.mark.parametrize("over", ["504", "client left", "answered"])
def test_input_that_never_ends_costs_its_container_once_its_time_is_up(over):
    async def test():
        world = World(Scaling(max_containers=1), timeout=100)
        container, (lease,) = await started(world)
        if over == "answered":
            lease.finish()
        else:
            lease.cancel(patience=0 if over == "504" else 60)
        left = {"504": 0, "client left": 60, "answered": 100}[over]
        next_one = asyncio.create_task(world.pool.acquire())
        world.clock.advance(left + GRACE - 0.1)
        assert container.stopped == []
        assert container.cancelled[0] == lease.input_id
        world.clock.advance(INTERVAL + 0.1)
        assert container.stopped == [STUCK_GRACE]
        assert world.overrun == [container.listener]
        await settle()
        assert len(world.containers) == 1  # one that is ending counts against the ceiling
        assert not next_one.done()
        assert world.pool.stats.running == 1
        container.die()
        world.containers[1].become_ready()
        assert (await next_one).member is world.pool.members[0]
        assert world.pool.stats.running == 1
        world.clock.advance(300)
        assert world.containers[1].stopped == []

    run(test)


def test_input_that_ends_in_its_grace_costs_nothing():
    async def test():
        world = World(timeout=10)
        container, (lease,) = await started(world)
        lease.cancel(patience=0)
        world.clock.advance(GRACE - 0.1)
        lease.member.ended((lease.input_id,))
        world.clock.advance(30)
        assert container.stopped == world.overrun == []
        assert world.pool.try_acquire().member is lease.member

    run(test)


def test_input_whose_exchange_lasts_is_the_gateways_to_bound():
    async def test():
        world = World(Scaling(max_inputs=2), timeout=1)
        container, (streaming, other) = await started(world, 2)
        other.finish()
        world.clock.advance(0.5)
        other.member.ended((other.input_id,))
        world.clock.advance(1000)
        assert streaming.input_id not in container.cancelled
        assert container.stopped == []

    run(test)


def test_other_inputs_of_such_a_container_have_their_own_time_and_new_ones_go_elsewhere():
    async def test():
        world = World(Scaling(max_inputs=3, max_containers=2), timeout=60)
        container, (stuck, busy, socket) = await started(world, 3)
        retired: list[bool] = []
        socket.on_retire = lambda: retired.append(True)
        waiting = asyncio.create_task(world.pool.acquire())
        await settle()
        world.containers[1].fail()  # so that the pool has no other container when it needs one
        world.clock.advance(5)
        stuck.cancel(patience=0)
        world.clock.advance(SOON)
        assert retired == [True]
        socket.member.ended((socket.input_id,))
        assert world.pool.try_acquire() is None
        assert len(world.containers) == 3
        world.containers[2].become_ready()
        assert (await waiting).member is not busy.member
        assert container.stopped == []
        busy.member.ended((busy.input_id,))
        world.clock.advance(INTERVAL)
        assert container.stopped == [STUCK_GRACE]
        assert len(world.overrun) == 1

    run(test)


def test_drained_container_waits_no_longer_than_an_input_may_take():
    async def test():
        world = World(Scaling(max_inputs=2), timeout=60)
        container, (streaming, ending) = await started(world, 2)
        world.pool.stop_container(container.listener.id)
        ending.finish()
        ending.member.ended((ending.input_id,))
        world.clock.advance(59)
        assert container.stopped == []
        world.clock.advance(2)
        assert container.stopped == [STOP_GRACE]
        world.clock.advance(300)
        assert container.stopped == [STOP_GRACE]
        assert streaming.input_id in streaming.member.leases
        container.die()
        assert world.pool.stats.running == 0

    run(test)


@pytest.mark.parametrize("how", ["stop_container", "hand_over", "stop"])
def test_stuck_input_does_not_hold_up_the_end_of_its_container(how):
    async def test():
        world, successor = World(timeout=600), World()
        container, (lease,) = await started(world)
        lease.cancel(patience=2)
        if how == "stop_container":
            world.pool.stop_container(container.listener.id)
        elif how == "hand_over":
            world.pool.hand_over(lambda: successor.pool, socket_grace=30)
        else:
            world.pool.stop(grace=100)
        world.clock.advance(2 + SOON)
        assert container.stopped[-1] == STUCK_GRACE
        container.die()
        assert container.listener not in world.pool.members
        assert world.pool.stats.running == 0

    run(test)


def test_shorter_grace_wins_also_after_the_container_was_told_to_end():
    async def test():
        world = World()
        container, _ = await started(world)
        for grace in (20.0, 5.0, 10.0, 0.0):
            world.pool.stop(grace)
        assert container.stopped == [20.0, 5.0, 0.0]

    run(test)
