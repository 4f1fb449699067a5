"""Which inputs run here, and the exact moment each one ends (SPEC §6, Cancellation)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from portico.context import input_id

DISCONNECT_GRACE = (
    0.02  # seconds an app has to end by itself on ``http.disconnect`` before it is cancelled
)
MAX_REMEMBERED = 4096  # cancelled inputs whose request has not arrived


class Input:
    """One running input. While `threads` is above zero a cancellation waits: threads cannot be interrupted,
    and an input whose thread runs on has not ended."""

    __slots__ = ("cancelled", "due", "number", "task", "threads")

    def __init__(self, number: int, task: asyncio.Task[Any] | None) -> None:
        self.number = number
        self.task = task
        self.threads = 0
        self.cancelled = False
        self.due = False


class Inputs:
    """The running inputs of this container. `report` gets the numbers of ended ones, once per loop turn."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        report: Callable[[tuple[int, ...]], None],
    ) -> None:
        self.running: dict[int, Input] = {}
        self._loop = loop
        self._report = report
        self._ended: list[int] = []
        self._gone: dict[int, None] = {}  # in order of arrival
        self._idle: asyncio.Event | None = None

    def begin(self, number: int) -> Input | None:
        """The current task handles input `number` from here on. None for one cancelled before it came."""
        if self._gone and number in self._gone:
            del self._gone[number]
            return None
        # Naming the loop saves asyncio a look for the running one, which is a system call before Python 3.12.
        current = self.running[number] = Input(number, asyncio.current_task(self._loop))
        input_id.set(number)
        return current

    def end(self, number: int, told: bool = False) -> None:
        """The handler of `number` has returned; `told` says that its response carries the news."""
        del self.running[number]
        if not told:
            self.report(number)
        if self._idle is not None and not self.running:
            self._idle.set()

    def report(self, number: int) -> None:
        """Tell the sandbox that `number` has ended, with all others of this turn."""
        if not self._ended:
            self._loop.call_soon(self._flush)
        self._ended.append(number)

    def _flush(self) -> None:
        ended = tuple(self._ended)
        self._ended.clear()
        self._report(ended)

    def cancel(self, numbers: Sequence[int]) -> None:
        """The clients of `numbers` are gone."""
        for number in numbers:
            current = self.running.get(number)
            if current is None:
                self._remember(number)
                self.report(number)
            elif not current.cancelled:
                current.cancelled = True
                self._loop.call_later(DISCONNECT_GRACE, self._interrupt, current)

    def probe(self, numbers: Sequence[int]) -> None:
        """Report those of `numbers` that do not run here."""
        for number in numbers:
            if number not in self.running:
                self.report(number)

    def _remember(self, number: int) -> None:
        self._gone[number] = None
        if len(self._gone) > MAX_REMEMBERED:
            del self._gone[next(iter(self._gone))]

    def _interrupt(self, current: Input) -> None:
        if self.running.get(current.number) is not current or current.task is None:
            return
        if current.threads:
            current.due = True
        else:
            current.task.cancel()

    def enter_thread(self, current: Input) -> None:
        """A worker thread of `current` starts."""
        current.threads += 1

    def leave_thread(self, current: Input) -> None:
        """A worker thread of `current` is back: a cancellation that waited for it happens now."""
        current.threads -= 1
        if current.due and not current.threads:
            current.due = False
            self._interrupt(current)

    async def drained(self) -> None:
        """Wait until nothing runs."""
        while self.running:
            self._idle = asyncio.Event()
            await self._idle.wait()
