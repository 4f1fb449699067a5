"""Synchronous handlers: ASGI frameworks run them in worker threads, anyio's or the event loop's.

anyio waits for such a thread when one of its own scopes is cancelled, but a plain ``Task.cancel`` tears the
waiting coroutine away and the handler runs on unseen. Here the cancellation waits for the thread instead, so
that an input ends when its handler has.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from portico.context import input_id
from portico.runner.inputs import Inputs

ANYIO_THREADS = 40  # unless it is told otherwise


def await_worker_threads(inputs: Inputs, loop: asyncio.AbstractEventLoop) -> None:
    """Make worker threads count for the input that started them."""
    _await_executors(inputs, loop)
    _await_anyio(inputs)


def _await_executors(inputs: Inputs, loop: asyncio.AbstractEventLoop) -> None:
    """Threads of ``loop.run_in_executor``: `asyncio.to_thread`, asgiref (Django), Litestar, Quart."""
    original: Callable[..., asyncio.Future[Any]] = loop.run_in_executor
    running = inputs.running

    def run_in_executor(executor: Any, func: Callable[..., Any], *args: Any) -> asyncio.Future[Any]:
        future = original(executor, func, *args)
        current = running.get(input_id.get() or 0)
        if current is not None:
            inputs.enter_thread(current)
            future.add_done_callback(lambda _: inputs.leave_thread(current))
        return future

    loop.run_in_executor = run_in_executor  # type: ignore[method-assign, assignment]


def _await_anyio(inputs: Inputs) -> None:
    """Threads of ``anyio.to_thread.run_sync``: Starlette and FastAPI. Nothing where there is no anyio."""
    to_thread = sys.modules.get("anyio.to_thread")
    if to_thread is None:
        return
    original: Callable[..., Any] = to_thread.run_sync
    running = inputs.running

    async def run_sync(func: Callable[..., Any], *args: Any, **options: Any) -> Any:
        current = running.get(input_id.get() or 0)
        if current is None or options.get("abandon_on_cancel") or options.get("cancellable"):
            return await original(func, *args, **options)
        inputs.enter_thread(current)
        try:
            return await original(func, *args, **options)
        finally:
            inputs.leave_thread(current)

    to_thread.run_sync = run_sync  # type: ignore[attr-defined]


async def allow_threads(count: int) -> None:
    """Let as many synchronous handlers run at once as the container has slots."""
    to_thread = sys.modules.get("anyio.to_thread")
    if to_thread is not None and count > ANYIO_THREADS:
        to_thread.current_default_thread_limiter().total_tokens = count
    if count > min(32, (os.cpu_count() or 1) + 4):  # what an event loop gives itself
        executor = ThreadPoolExecutor(count, thread_name_prefix="asyncio")
        asyncio.get_running_loop().set_default_executor(executor)
