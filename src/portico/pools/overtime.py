"""Inputs that go on behind their exchange: asked after, told to end, and in the end ended with their container.

The gateway bounds an input as long as somebody waits for its answer. One that goes on afterwards (its client left or
was told 504, or it works on behind its answer) has until it is `Lease.due`. A handler that ignores cancellation, or
a synchronous one, which cannot be interrupted, then costs its container.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from portico.pools.clock import Clock, Timer
from portico.pools.member import Lease, Member

INTERVAL = 1.0  # seconds between looks
PATIENCE = 1.0  # seconds for the report of an end to arrive
GRACE = 5.0  # seconds an input whose time is up, and that was told so, has to end
STUCK_GRACE = 5.0  # seconds from SIGTERM to SIGKILL where nothing but stuck inputs is left


class Verdict(NamedTuple):
    """Which inputs of a container to ask after, which to cancel, and how many of them are stuck."""

    probe: tuple[int, ...]
    cancel: tuple[int, ...]
    stuck: int


def judge(leases: Iterable[Lease], now: float) -> Verdict:
    """What to do about those of the `leases` whose exchange is over."""
    probe, cancel, stuck = [], [], 0
    for lease in leases:
        if lease.finished_at is None:
            continue
        # The container never saw an input that its HTTP server refused by itself.
        if lease.finished_at + PATIENCE <= now:
            probe.append(lease.input_id)
        if lease.due <= now:
            cancel.append(lease.input_id)
            stuck += lease.due + GRACE <= now
    return Verdict(tuple(probe), tuple(cancel), stuck)


class Overtime:
    """Looks after the `members` of a pool as long as one of them has an input whose exchange is over.

    `overrun` is called once for a container with an input that does not end, to take it out of routing.
    """

    def __init__(
        self, clock: Clock, members: Mapping[str, Member], overrun: Callable[[Member], None]
    ) -> None:
        self._clock = clock
        self._members = members
        self._overrun = overrun
        self._timer: Timer | None = None

    def begin(self) -> None:
        """An exchange is over, and its input perhaps not."""
        if self._timer is None:
            self._timer = self._clock.call_at(self._clock.time() + INTERVAL, self._look)

    def _look(self) -> None:
        self._timer = None
        now = self._clock.time()
        for member in tuple(self._members.values()):
            if member.goes_on:
                self.begin()
                self._act(member, judge(member.leases.values(), now))

    def _act(self, member: Member, verdict: Verdict) -> None:
        if verdict.probe:
            member.probe(verdict.probe)
        if verdict.cancel:
            member.cancel(verdict.cancel)
        if not verdict.stuck:
            return
        if not member.overrun:
            member.overrun = True
            self._overrun(member)
        if verdict.stuck == len(member.leases):  # the other inputs have had their own time
            member.stop(STUCK_GRACE)
