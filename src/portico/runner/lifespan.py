"""The ASGI lifespan protocol, run here and not by uvicorn so that a failure is reported as such."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from portico.runner.failures import CannotServe
from portico.runner.tracebacks import report

Message = MutableMapping[str, Any]


class Lifespan:
    """One app's lifespan. `state` is what the app left in ``scope["state"]`` for its requests.

    An app that raises on the lifespan scope without having said ``startup.failed`` does not support it, and
    is served without.
    """

    def __init__(self, app: Callable[..., Awaitable[None]]) -> None:
        self.state: dict[str, Any] = {}
        self._app = app
        self._task: asyncio.Task[None] | None = None
        self._events: asyncio.Queue[Message] = asyncio.Queue()
        self._answers: asyncio.Queue[Message] = asyncio.Queue()

    async def startup(self) -> None:
        """Run the startup. Raises the app's own exception, or `CannotServe` where it gave only a text."""
        asgi = {"version": "3.0", "spec_version": "2.0"}
        scope = {"type": "lifespan", "asgi": asgi, "state": self.state}
        self._task = asyncio.ensure_future(self._app(scope, self._events.get, self._send))
        answer = await self._ask("lifespan.startup")
        if answer is None:
            self._task = None
            return
        if answer["type"] == "lifespan.startup.complete":
            return
        await asyncio.wait({self._task})
        error = self._task.exception()
        if error is not None:
            raise error
        raise CannotServe(answer.get("message") or "the app said lifespan.startup.failed")

    async def shutdown(self) -> None:
        """Run the shutdown; what goes wrong is printed, because there is nobody left to refuse."""
        if self._task is None:
            return
        if self._task.done():
            return
        answer = await self._ask("lifespan.shutdown")
        if answer is not None:
            await asyncio.wait({self._task})
        error = None if self._task.cancelled() else self._task.exception()
        if error is not None:
            report(error)
        elif answer is not None and answer["type"] == "lifespan.shutdown.failed":
            print(answer.get("message") or "lifespan shutdown failed", file=sys.stderr)

    async def _ask(self, event: str) -> Message | None:
        """Send `event`; the app's answer, or None when it ended without one."""
        assert self._task is not None
        self._events.put_nowait({"type": event})
        answer = asyncio.ensure_future(self._answers.get())
        await asyncio.wait({answer, self._task}, return_when=asyncio.FIRST_COMPLETED)
        if not answer.done():
            answer.cancel()
            if not self._task.cancelled():
                self._task.exception()  # retrieved: an app without lifespan is no accident
            return None
        return answer.result()

    async def _send(self, message: Message) -> None:
        if not message["type"].startswith("lifespan."):
            raise RuntimeError(f"unexpected ASGI message {message['type']!r} in a lifespan scope")
        self._answers.put_nowait(message)
