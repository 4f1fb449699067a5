"""Synchronous handlers: ASGI frameworks run them in anyio's worker threads.

anyio waits for such a thread when one of its own scopes is cancelled, but a plain ``Task.cancel`` tears the
waiting coroutine away and the handler runs on unseen. Here the cancellation waits for the thread instead, so
that an input ends when its handler has.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from portico.context import input_id
from portico.runner.inputs import Inputs

DEFAULT_THREADS = 40  # anyio's own


def await_worker_threads(inputs: Inputs) -> None:
    """Make anyio's worker threads count for the input that started them; nothing where there is no anyio."""
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
    if to_thread is not None and count > DEFAULT_THREADS:
        to_thread.current_default_thread_limiter().total_tokens = count
