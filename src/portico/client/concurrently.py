"""Structured concurrency for the Pythons that lack `asyncio.TaskGroup`."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any


async def concurrently(*work: Coroutine[Any, Any, Any]) -> list[Any]:
    """Run every coroutine; the first to fail cancels the others, and none outlives this call."""
    tasks = [asyncio.ensure_future(one) for one in work]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
