"""The inputs that wait for a slot, first come, first served."""

from __future__ import annotations

import asyncio

from portico.pools.member import ColdStart, Lease, Member


class Queue(dict["Waiter", None]):
    """Inputs in the order they came; a dictionary, so that one who leaves is dropped at once."""

    __slots__ = ()

    def next(self) -> Waiter:
        """Take the first out."""
        waiter = next(iter(self))
        del self[waiter]
        return waiter

    def take_over(self, other: Queue) -> None:
        """Have those of `other` wait here."""
        for waiter in other:
            waiter.queue = self
        self.update(other)
        other.clear()

    def refuse(self, error: Exception) -> None:
        """Nobody gets a slot: all are told `error`."""
        waiters = tuple(self)
        self.clear()
        for waiter in waiters:
            if not waiter.future.done():
                waiter.future.set_exception(error)


class Waiter:
    """One input that waits for a slot; `queue` changes when a successor takes the pool's queue over."""

    __slots__ = ("future", "queue", "since")

    def __init__(self, queue: Queue, future: asyncio.Future[Lease], since: float) -> None:
        self.queue = queue
        self.future = future
        self.since = since

    def leave(self) -> None:
        """Stop waiting; a slot granted in the same tick goes to the next in the queue."""
        self.queue.pop(self, None)
        if not self.future.done():
            self.future.cancel()
        elif not self.future.cancelled() and self.future.exception() is None:
            lease = self.future.result()
            lease.member.ended((lease.input_id,))

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
