"""A container as its pool sees it, and the leases of its slots."""

from __future__ import annotations

import enum
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from portico.engines.base import Container
from portico.pools.clock import Timer
from portico.wire.container import Address, Call, CallResult, ContainerExit, Ready

STOP_GRACE = 30.0  # seconds from SIGTERM to SIGKILL (SPEC §7)
SHORT_LIFE = 10.0  # seconds; a container that dies sooner, and was never used, is a failed start
MAX_RESERVE = 10.0  # seconds of a grace that are for the container, whatever its inputs do


class State(enum.Enum):
    """Where a container is in its life; it only ever moves down this list."""

    STARTING = "starting"
    READY = "ready"
    DRAINING = "draining"
    STOPPING = "stopping"
    GONE = "gone"


class MemberOwner(Protocol):
    """Told about changes that matter to the pool as a whole."""

    timeout: float
    """Seconds that an input may take."""

    def now(self) -> float:
        """The pool's clock, in seconds."""

    def call_at(self, when: float, callback: Callable[[], None]) -> Timer:
        """Call back when the pool's clock says `when`."""

    def member_ready(self, member: Member) -> None:
        """`member` has slots to give."""

    def exchange_over(self) -> float:
        """An input's exchange is over, and the input perhaps not. Returns the time."""

    def slots_freed(self, member: Member, count: int) -> None:
        """`count` inputs of `member` have ended."""

    def member_left(self, member: Member) -> None:
        """`member` no longer counts: it drains or stops."""

    def member_gone(self, member: Member, before: State, exit: ContainerExit) -> None:
        """`member` and all its inputs are over; `before` is the state it was in."""


@dataclass(frozen=True, slots=True)
class ColdStart:
    """What an input waited for, in milliseconds by phase (for ``Server-Timing``)."""

    phases: dict[str, float]


class Lease:
    """One input's hold on a slot. The slot is free when the handler has ended, not when the client has."""

    __slots__ = (
        "_reports_end",
        "cold_start",
        "due",
        "finished_at",
        "input_id",
        "member",
        "on_lost",
        "on_result",
        "on_retire",
    )

    def __init__(self, member: Member, input_id: int) -> None:
        self.member = member
        self.input_id = input_id
        self.cold_start: ColdStart | None = None
        self.on_retire: Callable[[], None] | None = None
        """Called when the container is to go and this input should give way (open WebSockets)."""
        self.on_result: Callable[[CallResult], None] | None = None
        """Called with the outcome, where the input is a function call."""
        self.on_lost: Callable[[str], None] | None = None
        """Called with the reason when the container ends before the input has."""
        self.finished_at: float | None = None
        """When the exchange was over, on the pool's clock."""
        self.due = math.inf
        """When the input has to have ended, once its exchange is over."""
        self._reports_end = True

    @property
    def retiring(self) -> bool:
        """Whether the container takes no new inputs any more."""
        return not self.member.live

    def address(self, method: str) -> Address | None:
        """Where the container listens for `method`; None where its version of the class has no such method."""
        address = self.member.addresses.get(method)
        if address is not None:
            self._reports_end = address.reports_end
        return address

    def finish(self, *, ended: bool = False) -> None:
        """The exchange is over.

        The slot is free where the handler is known to have `ended`, or where the container would not report
        it; else the container does, any moment now, or when what goes on behind the answer is done.
        """
        if ended or not self._reports_end:
            self.member.ended((self.input_id,))
        else:
            self._go_on(self.member.owner.timeout)

    def call(self, call_id: str, method: str, payload: bytes) -> None:
        """Run a function call as this input; `on_result` or `on_lost` follows."""
        self.member.call(Call(input=self.input_id, call_id=call_id, method=method, payload=payload))

    def cancel(self, patience: float | None = None) -> None:
        """The client is gone, or its time is up: the handler is told, and ends the lease when it has ended.

        It has `patience` seconds for that: what is left of its time, `timeout` where that is not known.
        """
        self._go_on(self.member.owner.timeout if patience is None else patience)
        if self._reports_end:
            self.member.cancel((self.input_id,))
        else:
            self.member.ended((self.input_id,))

    def _go_on(self, patience: float) -> None:
        now = self.member.owner.exchange_over()
        if self.finished_at is None:
            self.finished_at = now
        self.due = min(self.due, now + patience)

    def never_began(self) -> None:
        """No container has seen anything of the input."""
        self.member.ended((self.input_id,))

    def container_unreachable(self) -> None:
        """The container does not accept connections: it gets no further inputs and is ended.

        This one never began there, so it does not count as running while the container ends.
        """
        self.member.condemn()
        self.never_began()


class Member:
    """One container of a pool: its state, and the inputs that hold its slots."""

    def __init__(
        self, container_id: str, owner: MemberOwner, capacity: int, function: str = ""
    ) -> None:
        self.id = container_id
        self.function = function
        self.owner = owner
        self.capacity = capacity
        self.state = State.STARTING
        self.created_at = owner.now()
        self.idle_since = self.created_at
        self.ready_at: float | None = None
        self.used = False
        self.addresses: dict[str, Address] = {}
        self.timings: dict[str, float] = {}
        self.leases: dict[int, Lease] = {}
        self.container: Container | None = None
        self.overrun = False
        """Whether it has an input that did not end in its time."""
        self._last_call: Timer | None = None  # when a drain or a stop waits for inputs no longer
        self._kill_at = math.inf

    @property
    def free(self) -> int:
        """Slots to give."""
        return self.capacity - len(self.leases) if self.state is State.READY else 0

    @property
    def pid(self) -> int | None:
        """Process id of the container's leader, once known."""
        return self.container.pid if self.container is not None else None

    @property
    def goes_on(self) -> bool:
        """Whether an input runs here whose exchange is over."""
        return any(lease.finished_at is not None for lease in self.leases.values())

    @property
    def live(self) -> bool:
        """Whether the container counts as one the pool has."""
        return self.state in (State.STARTING, State.READY)

    def lease(self, input_id: int) -> Lease:
        """Take a slot; the caller has seen that one is free."""
        self.used = True
        lease = Lease(self, input_id)
        self.leases[input_id] = lease
        return lease

    def cancel(self, inputs: Sequence[int]) -> None:
        """Tell the container that these inputs' clients are gone."""
        held = tuple(i for i in inputs if i in self.leases)
        if held and self.container is not None:
            self.container.cancel(held)

    def call(self, call: Call) -> None:
        """Hand a function call to the container."""
        if self.container is not None:
            self.container.call(call)

    def probe(self, inputs: Sequence[int]) -> None:
        """Ask the container whether these inputs run there; it reports the end of those that do not."""
        if self.container is not None:
            self.container.probe(inputs)

    def retire_leases(self) -> None:
        """Ask the inputs that can to give way."""
        for lease in tuple(self.leases.values()):
            if lease.on_retire is not None:
                lease.on_retire()

    def drain(self, patience: float) -> None:
        """No new inputs; the container stops once its last one has ended, or after `patience` seconds."""
        if not self.live:
            return
        if not self.leases:
            self.stop(STOP_GRACE)
            return
        self.state = State.DRAINING
        last_call = self.owner.now() + patience
        self._last_call = self.owner.call_at(last_call, lambda: self.stop(STOP_GRACE))
        self.owner.member_left(self)

    def stop(self, grace: float) -> None:
        """End the container: SIGTERM, SIGKILL after `grace` seconds; the shortest grace asked for wins.

        A container that does not know when its inputs end gets its SIGTERM after the last of them, or when
        most of the grace is over.
        """
        kill_at = self.owner.now() + grace
        if self.state is State.GONE or self._kill_at <= kill_at:
            return
        was_live = self.live
        self.state = State.STOPPING
        if was_live:
            self.owner.member_left(self)
        self._kill_at = kill_at
        self._wait_no_longer()
        if grace > 0 and self.leases and not all(a.reports_end for a in self.addresses.values()):
            reserve = min(MAX_RESERVE, grace / 3)
            self._last_call = self.owner.call_at(self._kill_at - reserve, self._tell_to_end)
        else:
            self._tell_to_end()

    def _tell_to_end(self) -> None:
        self._wait_no_longer()
        if self.container is not None:
            self.container.stop(max(0.0, self._kill_at - self.owner.now()))

    def _wait_no_longer(self) -> None:
        if self._last_call is not None:
            self._last_call.cancel()
            self._last_call = None

    def condemn(self) -> None:
        """The container is broken: end it without ceremony."""
        self.stop(0.0)

    def never_worked(self, before: State) -> bool:
        """Whether it failed as a start, though it may have been ready for a moment; `before` is its last state."""
        if before is State.READY and self.ready_at is not None and not self.used:
            return self.owner.now() - self.ready_at < SHORT_LIFE
        return before is State.STARTING

    # -- ContainerListener

    def ready(self, ready: Ready) -> None:
        self.addresses = ready.addresses
        self.timings = ready.timings
        if self.state is not State.STARTING:
            return
        self.state = State.READY
        self.ready_at = self.idle_since = self.owner.now()
        self.owner.member_ready(self)

    def ended(self, inputs: Iterable[int]) -> None:
        pop = self.leases.pop
        count = 0
        for input_id in inputs:
            if pop(input_id, None) is not None:
                count += 1
        if not count:
            return
        if not self.leases:
            self.idle_since = self.owner.now()
            if self.state is State.DRAINING:
                self.stop(STOP_GRACE)
            elif self._last_call is not None:
                self._tell_to_end()
        self.owner.slots_freed(self, count)

    def called(self, result: CallResult) -> None:
        lease = self.leases.get(result.input)
        if lease is not None and lease.on_result is not None:
            lease.on_result(result)

    def exited(self, exit: ContainerExit) -> None:
        before, was_live = self.state, self.live
        self.state = State.GONE
        self._wait_no_longer()
        if was_live:
            self.owner.member_left(self)
        for lease in tuple(self.leases.values()):
            if lease.on_lost is not None:
                lease.on_lost(exit.reason)
        self.ended(tuple(self.leases))
        self.owner.member_gone(self, before, exit)
