"""A pool: the containers of one function (of one combination of parameters) and the inputs that wait for them.

Knative's breaker and autoscaler in one place and one thread: running and waiting are two counters changed only
here, capacity follows the containers, and the first input that finds no slot pokes the autoscaler in the same
tick. Everything runs on the event loop; nothing on the way of an input awaits except the wait for a slot.
"""

from __future__ import annotations

import asyncio
import itertools
import math
from collections.abc import Callable, Mapping

import msgspec

from portico.engines.base import Engine
from portico.pools import autoscaler
from portico.pools.backoff import Backoff
from portico.pools.clock import Clock, Timer
from portico.pools.errors import PoolError, PoolStopped, StartFailed, StartTimeout
from portico.pools.member import STOP_GRACE, Lease, Member, State
from portico.pools.overtime import Overtime
from portico.pools.stats import PoolStats
from portico.pools.tally import Tally
from portico.pools.waiter import Queue, Waiter, WaitingRoom
from portico.wire.container import ContainerExit, ContainerSpec
from portico.wire.ids import new_id
from portico.wire.manifest import FunctionSpec, ParameterValue, Scaling


class Pool:
    """The containers of one function, and a FIFO queue of the inputs that found no room.

    `make_spec` gives the specification of a new container for its id; it is asked for each start, so that
    changed secrets reach new containers. `parameters` are the values of a parametrized class; `input_ids` numbers
    inputs across all pools of a server; `tally` counts starts for all pools of a function; `waiting_room` bounds
    those that wait, together with other pools' where it is shared. `on_overrun` is told of a container that is
    replaced for an input which does not end, and `on_exit` of every end.
    """

    def __init__(
        self,
        function: FunctionSpec,
        engine: Engine,
        make_spec: Callable[[str], ContainerSpec],
        *,
        parameters: Mapping[str, ParameterValue] | None = None,
        input_ids: Callable[[], int] | None = None,
        on_exit: Callable[[Member, ContainerExit], None] | None = None,
        waiting_room: WaitingRoom | None = None,
        tally: Tally | None = None,
        on_overrun: Callable[[Member], None] | None = None,
        clock: Clock | None = None,
    ) -> None:
        self.function = function
        self.scaling = function.scaling
        self.timeout = function.timeout
        self.parameters = parameters or {}
        self._engine = engine
        self._make_spec = make_spec
        self._next_input = input_ids or itertools.count(1).__next__
        self._on_exit = on_exit
        self._waiting_room = waiting_room or WaitingRoom()
        self._tally = tally or Tally()
        self._on_overrun = on_overrun
        self._clock: Clock = clock or asyncio.get_running_loop()
        self._members: dict[str, Member] = {}
        self._overtime = Overtime(self._clock, self._members, self._replace)
        self._ready: list[Member] = []
        self._queue = Queue(self._waiting_room)
        self._running = 0
        self._live = 0
        self._headroom = 0.0
        self._backoff = Backoff()
        self._failure: StartFailed | None = None
        self._timer: Timer | None = None
        self._elsewhere: Callable[[], Pool] | None = None  # set where the pool takes no inputs
        self._idle_since = self.now()  # as far as the containers it has do not say
        self._floor = 0  # containers wanted while the pool is being prepared
        self._farewell: Timer | None = None
        self._changed = asyncio.Event()
        self._gone = asyncio.Event()
        self._gone.set()

    # -- inputs

    def try_acquire(self) -> Lease | None:
        """A slot at once, or None where the input has to wait (`acquire`)."""
        if self._queue or not self._ready:
            return None
        ready = self._ready
        member = ready[0] if len(ready) == 1 else min(ready, key=_load)
        if len(member.leases) >= member.capacity:
            return None
        lease = self._grant(member)
        if self._running > self._headroom:
            self._scale()
        return lease

    async def acquire(self) -> Lease:
        """A slot, first come first served.

        Raises `QueueFull` at once, `StartFailed` when containers cannot start, `StartTimeout` after
        `startup_timeout` seconds, `PoolStopped` when the pool ends. Cancelling it leaves the queue.
        """
        lease = self.try_acquire()
        if lease is not None:
            return lease
        if self._elsewhere is not None:
            return await self._elsewhere().acquire()
        self._waiting_room.check()
        if self._failure is not None and not self._ready and self._backoff.until > self.now():
            raise self._failure
        waiter = Waiter(self._queue, asyncio.get_running_loop().create_future(), self.now())
        self._queue.add(waiter)
        self._scale()
        try:
            async with asyncio.timeout(self.function.startup_timeout):
                return await waiter.future
        except BaseException as error:
            waiter.leave()
            self._idle_since = self.now()
            if not isinstance(error, TimeoutError):
                raise
            raise StartTimeout(self.function.startup_timeout) from None

    def _grant(self, member: Member) -> Lease:
        self._running += 1
        return member.lease(self._next_input())

    def _dispatch(self) -> None:
        """Give free slots to the longest waiting."""
        while self._queue and self._ready:
            member = min(self._ready, key=_load)
            if member.free <= 0:
                return
            waiter = self._queue.next()
            if waiter.future.done():  # cancelled in this very tick
                continue
            lease = self._grant(member)
            lease.cold_start = waiter.cold_start(member, self.now())
            if lease.cold_start is not None:
                self._tally.cold_start(lease.cold_start)
            waiter.future.set_result(lease)

    # -- scaling

    def _scale(self) -> None:
        """Ask the autoscaler, and do what it says."""
        if self._elsewhere is not None:
            return
        now = self.now()
        idle = [autoscaler.Idle(m.id, m.idle_since) for m in self._ready if not m.leases]
        snapshot = autoscaler.Snapshot(self._running, len(self._queue), self._live, idle)
        scaling = self._scaling_now()
        decision = autoscaler.decide(scaling, snapshot, now)
        wake_at = decision.wake_at
        if decision.start and self._backoff.until > now:
            wake_at = self._backoff.until
        else:
            for _ in range(int(min(decision.start, self._room))):
                self._start()
        for container_id in decision.stop:
            self._members[container_id].stop(STOP_GRACE)
        self._headroom = autoscaler.headroom(scaling, self._live)
        self._look_again(wake_at)

    def _scaling_now(self) -> Scaling:
        if self._floor <= self.scaling.min_containers:
            return self.scaling
        return msgspec.structs.replace(self.scaling, min_containers=self._floor)

    @property
    def _room(self) -> float:
        """Containers that may be started: ones that are still ending count, the ceiling is hard."""
        most = self.scaling.max_containers
        return math.inf if most is None else max(0, most - len(self._members))

    def _look_again(self, at: float | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if at is not None:
            self._timer = self._clock.call_at(at, self._timer_fired)

    def _timer_fired(self) -> None:
        self._timer = None
        self._scale()

    def _start(self) -> None:
        member = Member(new_id("ta"), self, self.scaling.max_inputs, self.function.name)
        self._members[member.id] = member
        self._live += 1
        self._tally.starts += 1
        self._gone.clear()
        member.container = self._engine.start(self._make_spec(member.id), member)

    def _replace(self, member: Member) -> None:
        """An input of `member` does not end, and its time is up: another container takes its place."""
        if self._on_overrun is not None:
            self._on_overrun(member)
        self._see_off(member)

    # -- MemberOwner

    def now(self) -> float:
        """The pool's clock, in seconds."""
        return self._clock.time()

    def call_at(self, when: float, callback: Callable[[], None]) -> Timer:
        """Call back when the pool's clock says `when`."""
        return self._clock.call_at(when, callback)

    def member_ready(self, member: Member) -> None:
        """`member` has slots to give."""
        self._ready.append(member)
        self._failure = None
        self._dispatch()
        self._notify()
        self._scale()

    def exchange_over(self) -> float:
        """An input's exchange is over, and the input perhaps not. Returns the time."""
        self._overtime.begin()
        return self.now()

    def slots_freed(self, member: Member, count: int) -> None:
        """`count` inputs of `member` have ended."""
        self._running -= count
        if self._backoff.until:
            self._backoff.succeeded()
        if self._queue:
            self._dispatch()
        elif not member.leases and self._timer is None and self._live > self.scaling.min_containers:
            self._scale()

    def member_left(self, member: Member) -> None:
        """`member` no longer counts: it drains or stops."""
        self._live -= 1
        if member in self._ready:
            self._ready.remove(member)

    def member_gone(self, member: Member, before: State, exit: ContainerExit) -> None:
        """`member` and all its inputs are over."""
        del self._members[member.id]
        if member.used:
            self._idle_since = max(self._idle_since, member.idle_since)
        self._tally.failed_starts += before is State.STARTING
        if self._on_exit is not None:
            self._on_exit(member, exit)
        if not self._members:
            self._gone.set()
            if self._farewell is not None:
                self._farewell.cancel()
        if member.never_worked(before):
            self._backoff.failed(self.now())
            traceback = exit.failure.traceback if exit.failure is not None else ""
            self._failure = StartFailed(f"the container {exit.reason}", traceback)
            if not self._ready:
                self._queue.refuse(self._failure)
        self._notify()
        self._scale()

    def _notify(self) -> None:
        """Wake those who wait for containers to be ready."""
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    # -- life

    def start(self) -> None:
        """Begin to keep `min_containers`; what `prepare` has started is used or let go from here on."""
        self._floor = 0
        self._scale()

    async def prepare(self, count: int) -> None:
        """Have `count` containers ready before any input needs them, until `start`.

        Raises `StartFailed`, `StartTimeout` after `startup_timeout` seconds, `PoolStopped`.
        """
        if self.scaling.max_containers is not None:
            count = min(count, self.scaling.max_containers)
        self._floor = count
        self._scale()
        try:
            async with asyncio.timeout(self.function.startup_timeout):
                while len(self._ready) < count:
                    if self._failure is not None:
                        raise self._failure
                    if self._elsewhere is not None:
                        raise PoolStopped
                    await self._changed.wait()
        except TimeoutError:
            raise StartTimeout(self.function.startup_timeout) from None

    def hand_over(self, elsewhere: Callable[[], Pool], socket_grace: float) -> None:
        """Leave the field: running inputs end here, waiting and further ones go to the pool that `elsewhere` gives.

        They are refused with the `PoolError` that it raises. Open WebSockets are asked to close after
        `socket_grace` seconds; whatever still runs when the function's own timeout has passed is ended.
        """
        self._close_to_new(elsewhere)
        if self._queue:
            try:
                elsewhere()._take_over(self._queue)
            except PoolError as error:
                self._queue.refuse(error)
        now = self.now()
        for member in tuple(self._members.values()):
            if member.state is State.STARTING:
                member.stop(0.0)
            else:
                member.drain(socket_grace + self.timeout)
        if self._members:
            self._farewell = self._clock.call_at(now + socket_grace, self._retire_leases)

    def stop(self, grace: float = STOP_GRACE) -> None:
        """End: waiting inputs are refused, running ones have `grace` seconds."""
        self._close_to_new(_stopped)
        self._queue.refuse(PoolStopped())
        self._retire_leases()
        self._stop_members(grace)

    async def gone(self) -> None:
        """Wait until no container is left."""
        await self._gone.wait()

    def stop_container(self, container_id: str) -> bool:
        """Drain and end one container, which takes no longer than an input may; False where there is none of that id."""
        member = self._members.get(container_id)
        if member is None:
            return False
        self._see_off(member)
        return True

    def _see_off(self, member: Member) -> None:
        member.drain(self.timeout)
        member.retire_leases()
        self._scale()

    def _take_over(self, queue: Queue) -> None:
        self._queue.take_over(queue)
        self._dispatch()
        self._scale()

    def _close_to_new(self, elsewhere: Callable[[], Pool]) -> None:
        self._elsewhere = elsewhere
        self._look_again(None)
        self._notify()

    def _retire_leases(self) -> None:
        for member in tuple(self._members.values()):
            member.retire_leases()

    def _stop_members(self, grace: float = STOP_GRACE) -> None:
        for member in tuple(self._members.values()):
            member.stop(grace)

    # -- what there is

    @property
    def members(self) -> tuple[Member, ...]:
        """The containers, oldest first."""
        return tuple(self._members.values())

    @property
    def stats(self) -> PoolStats:
        """Counters now."""
        ready = len(self._ready)
        return PoolStats(self._running, len(self._queue), self._live - ready, ready)

    @property
    def busy(self) -> bool:
        """Whether inputs run or wait."""
        return bool(self._running or self._queue)

    @property
    def idle_since(self) -> float:
        """When its last input ended, or it was made, on the pool's clock; it means nothing while `busy`."""
        used = (member.idle_since for member in self._members.values() if member.used)
        return max((self._idle_since, *used))

    @property
    def failure(self) -> StartFailed | None:
        """Why the last start failed, until one succeeds."""
        return self._failure


def _stopped() -> Pool:
    raise PoolStopped


def _load(member: Member) -> int:
    return len(member.leases)
