"""An event loop on a thread of its own, for blocking callers."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from concurrent.futures import CancelledError
from typing import Any, Generic, TypeVar

T = TypeVar("T")
CANCEL_TIMEOUT = 2.0  # seconds
WAKE = 0.5  # seconds


class LoopThread:
    """Starts at the first `run`; the thread is a daemon, so a forgotten one holds no exit up."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run `work` on the loop and wait for it; an interrupt here cancels it there."""
        if threading.current_thread() is self._thread:
            work.close()
            raise RuntimeError("a callback of the client cannot block on the client itself")
        job, loop = _Job(work), self._started()
        try:
            loop.call_soon_threadsafe(job.begin)
            # A signal that comes just before the thread blocks is seen only when it wakes again.
            while not job.wait(WAKE):
                pass
        except BaseException:
            # An interrupt: what comes next may use the same objects, so the cancellation must be over.
            loop.call_soon_threadsafe(job.cancel)
            job.wait(CANCEL_TIMEOUT)
            raise
        return job.result()

    def close(self) -> None:
        """Cancel what runs, then end loop and thread; a later `run` starts anew."""
        with self._lock:
            loop, thread = self._loop, self._thread
            self._loop = self._thread = None
        if loop is None or thread is None:
            return
        loop.call_soon_threadsafe(loop.stop)
        thread.join()

    def _started(self) -> asyncio.AbstractEventLoop:
        if self._loop is not None:  # no lock that an interrupt could leave locked
            return self._loop
        with self._lock:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                self._thread = threading.Thread(
                    target=_run_loop, args=(self._loop,), name=self._name, daemon=True
                )
                self._thread.start()
            return self._loop


class _Job(Generic[T]):
    """Work on the loop, and its outcome for the thread that waits.

    A bare lock tells that it is over. Futures and events are made of conditions, and an interrupt that comes
    just as the waiting thread enters one leaves it locked: the loop would wait for it forever.
    """

    def __init__(self, work: Coroutine[Any, Any, T]) -> None:
        self._work = work
        self._task: asyncio.Task[T] | None = None
        self._running = threading.Lock()
        self._running.acquire()

    def begin(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._work)
        self._task.add_done_callback(lambda task: self._running.release())

    def cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()
            return
        self._work.close()  # interrupted before it was handed over
        self._running.release()

    def wait(self, timeout: float) -> bool:
        return self._running.acquire(timeout=timeout)

    def result(self) -> T:
        assert self._task is not None
        if self._task.cancelled():
            raise CancelledError
        return self._task.result()


def _run_loop(loop: asyncio.AbstractEventLoop) -> None:
    asyncio.set_event_loop(loop)
    try:
        loop.run_forever()
        tasks = asyncio.all_tasks(loop)
        for task in tasks:
            task.cancel()
        loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.run_until_complete(loop.shutdown_default_executor())
    finally:
        loop.close()
