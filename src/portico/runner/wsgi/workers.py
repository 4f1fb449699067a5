"""Threads for requests: as many as there are requests at once, up to a bound, made when they are first needed."""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import SimpleQueue

Work = Callable[[], None]


class Workers:
    """Used from one thread, the loop's.

    The threads are daemons: one that never comes back must not hold up the end of the process, which has a
    deadline of its own.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._busy = 0
        self._count = 0
        self._queue: SimpleQueue[Work | None] = SimpleQueue()

    def submit(self, work: Work) -> None:
        """Run `work`, which raises nothing, on a thread; the caller says when it is `done`.

        Raises RuntimeError where the system gives no thread and there is none to wait for.
        """
        if self._count < min(self._busy + 1, self._most):
            self._start()
        self._busy += 1
        self._queue.put(work)

    def _start(self) -> None:
        name = f"portico-wsgi-{self._count + 1}"
        try:
            threading.Thread(target=self._run, name=name, daemon=True).start()
        except RuntimeError:
            if not self._count:
                raise
            return  # the work waits for one of the threads there are
        self._count += 1

    def done(self) -> None:
        """Some work is over."""
        self._busy -= 1

    def stop(self) -> None:
        """End the threads, each after what it is doing."""
        for _ in range(self._count):
            self._queue.put(None)

    def _run(self) -> None:
        while (work := self._queue.get()) is not None:
            work()
            del work  # and with it the request, while waiting for the next
