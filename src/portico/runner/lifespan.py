"""The ASGI lifespan protocol, run here and not by uvicorn so that a failure is reported as such."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from portico.runner.failures import CannotServe
from portico.runner.tracebacks import report

Message = MutableMapping[str, Any]

GRACE = 1.0  # seconds an app has to return once it has said its last word; some never do


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
        self._listened = False
        self._cause: BaseException | None = None
        self._left: BaseException | None = None

    async def startup(self) -> None:
        """Run the startup. Raises the app's own exception, or `CannotServe` where it gave only a text."""
        asgi = {"version": "3.0", "spec_version": "2.0"}
        scope = {"type": "lifespan", "asgi": asgi, "state": self.state}
        self._task = asyncio.ensure_future(self._run(scope))
        answer = await self._ask("lifespan.startup")
        if answer is None:
            if self._left is not None:
                raise self._left
            if self._listened and (error := self._error()) is not None:
                print("The app raised in its lifespan, and is served without:", file=sys.stderr)
                report(error)
            self._task = None
            return
        if answer["type"] == "lifespan.startup.complete":
            return
        if self._cause is None:
            await self._ended()
        error = self._cause or self._error()
        if error is not None:
            raise error
        raise CannotServe(answer.get("message") or "the app said lifespan.startup.failed")

    async def shutdown(self) -> None:
        """Run the shutdown; what goes wrong is printed, because there is nobody left to refuse."""
        if self._task is None or self._task.done():
            return
        answer = await self._ask("lifespan.shutdown")
        if answer is not None:
            await self._ended()
        error = self._error() or self._cause
        if error is not None:
            report(error)
        elif answer is not None and answer["type"] == "lifespan.shutdown.failed":
            print(answer.get("message") or "lifespan shutdown failed", file=sys.stderr)

    async def _run(self, scope: Message) -> None:
        try:
            await self._app(scope, self._receive, self._send)
        except (SystemExit, KeyboardInterrupt) as error:
            self._left = error  # a task that raises these tears the event loop down with it

    async def _ask(self, event: str) -> Message | None:
        """Send `event`; the app's answer, or None when it ended without one."""
        assert self._task is not None
        self._events.put_nowait({"type": event})
        answer = asyncio.ensure_future(self._answers.get())
        await asyncio.wait({answer, self._task}, return_when=asyncio.FIRST_COMPLETED)
        if not answer.done():
            answer.cancel()
            self._error()  # retrieved: an app without lifespan is no accident
            return None
        return answer.result()

    async def _ended(self) -> None:
        """Wait for the app to return; one that waits for events that do not exist is cancelled."""
        assert self._task is not None
        await asyncio.wait({self._task}, timeout=GRACE)
        if self._task.cancel():
            await asyncio.wait({self._task}, timeout=GRACE)

    def _error(self) -> BaseException | None:
        """What the app has raised."""
        if self._task is None or not self._task.done() or self._task.cancelled():
            return None
        return self._left or self._task.exception()

    async def _receive(self) -> Message:
        self._listened = True
        return await self._events.get()

    async def _send(self, message: Message) -> None:
        if not message["type"].startswith("lifespan."):
            raise RuntimeError(f"unexpected ASGI message {message['type']!r} in a lifespan scope")
        if message["type"].endswith(".failed"):
            # Some frameworks say the text only. They say it where they handle the exception, so here it is.
            self._cause = sys.exc_info()[1]
        self._answers.put_nowait(message)
