"""An event loop on a thread of its own, for blocking callers."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")
CANCEL_TIMEOUT = 2.0  # seconds


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
        finished = threading.Event()
        future = asyncio.run_coroutine_threadsafe(_tracked(work, finished), self._started())
        try:
            return future.result()
        except BaseException:
            # An interrupt: what comes next may use the same objects, so the cancellation must be over.
            future.cancel()
            finished.wait(CANCEL_TIMEOUT)
            raise

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
        with self._lock:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                self._thread = threading.Thread(
                    target=_run_loop, args=(self._loop,), name=self._name, daemon=True
                )
                self._thread.start()
            return self._loop


async def _tracked(work: Coroutine[Any, Any, T], finished: threading.Event) -> T:
    try:
        return await work
    finally:
        finished.set()


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
