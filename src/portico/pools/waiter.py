"""The inputs that wait for a slot, first come, first served."""

from __future__ import annotations

import asyncio

from portico.pools.errors import QueueFull
from portico.pools.member import ColdStart, Lease, Member

MAX_WAITING = 2000  # inputs that wait for one function (SPEC §6)


class WaitingRoom:
    """Counts the inputs that wait for one function, whichever of its pools they wait for."""

    __slots__ = ("_limit", "taken")

    def __init__(self, limit: int = MAX_WAITING) -> None:
        self._limit = limit
        self.taken = 0

    def check(self) -> None:
        """Raises `QueueFull` where no further input may wait."""
        if self.taken >= self._limit:
            raise QueueFull(self._limit)


class Queue(dict["Waiter", None]):
    """Inputs in the order they came; a dictionary, so that one who leaves is dropped at once."""

    __slots__ = ("_room",)

    def __init__(self, room: WaitingRoom) -> None:
        super().__init__()
        self._room = room

    def add(self, waiter: Waiter) -> None:
        """Have one more wait, behind all others."""
        waiter.queue = self
        self[waiter] = None
        self._room.taken += 1

    def drop(self, waiter: Waiter) -> None:
        """Have one wait no longer, if it does."""
        if waiter in self:
            del self[waiter]
            self._room.taken -= 1

    def next(self) -> Waiter:
        """Take the first out."""
        waiter = next(iter(self))
        self.drop(waiter)
        return waiter

    def take_over(self, other: Queue) -> None:
        """Have those of `other` wait here, all of them: whoever was let in is not turned away."""
        for waiter in other._empty():
            self.add(waiter)

    def refuse(self, error: Exception) -> None:
        """Nobody gets a slot: all are told `error`."""
        for waiter in self._empty():
            if not waiter.future.done():
                waiter.future.set_exception(error)

    def _empty(self) -> tuple[Waiter, ...]:
        waiters = tuple(self)
        self.clear()
        self._room.taken -= len(waiters)
        return waiters


class Waiter:
    """One input that waits for a slot; `queue` changes when a successor takes the pool's queue over."""

    __slots__ = ("future", "queue", "since")

    def __init__(self, queue: Queue, future: asyncio.Future[Lease], since: float) -> None:
        self.queue = queue
        self.future = future
        self.since = since

    def leave(self) -> None:
        """Stop waiting; a slot granted in the same tick goes to the next in the queue."""
        self.queue.drop(self)
        if not self.future.done():
            self.future.cancel()
        elif not self.future.cancelled() and self.future.exception() is None:
            self.future.result().never_began()

    def cold_start(self, member: Member, now: float) -> ColdStart | None:
        """Phases of the wait, where the input came before its container was there."""
        if member.ready_at is None or self.since > member.ready_at:
            return None
        boot = (member.ready_at - max(member.created_at, self.since)) * 1000
        imported = member.timings.get("import", 0.0)
        queue = (now - self.since) * 1000 - boot
        return ColdStart(
            {"queue": max(queue, 0.0), "boot": max(boot - imported, 0.0), "import": imported}
        )
