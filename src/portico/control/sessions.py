"""Ephemeral apps: each lives as long as a client holds a session to it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from typing import Protocol

from portico.control import manifests
from portico.control.catalog import Catalog
from portico.control.endings import Endings
from portico.control.errors import ConflictError
from portico.control.logs import Follower, Logs
from portico.control.registry import App, Registry
from portico.wire.api import (
    AppInfo,
    SessionClosed,
    SessionEvent,
    SessionLog,
    SessionOpened,
    SessionPing,
)
from portico.wire.ids import new_id

PING_INTERVAL = 5.0  # seconds
SESSION_GRACE = 30.0  # seconds a new app waits for its first session


class Timer(Protocol):
    """What `loop.call_later` returns."""

    def cancel(self) -> None:
        """Do not call back."""


CallLater = Callable[[float, Callable[[], None]], Timer]


class Sessions:
    """Makes ephemeral apps and ends them with their last session."""

    def __init__(
        self,
        *,
        catalog: Catalog,
        endings: Endings,
        registry: Registry,
        logs: Logs,
        call_later: CallLater | None = None,
        ping_interval: float = PING_INTERVAL,
    ) -> None:
        self._catalog = catalog
        self._endings = endings
        self._registry = registry
        self._logs = logs
        self._call_later = call_later
        self._ping_interval = ping_interval
        self._waiting: dict[str, Timer] = {}
        self._ending: set[asyncio.Task[None]] = set()

    async def create(self, name: str, environment: str) -> AppInfo:
        """A new ephemeral app, dropped if no session opens within `SESSION_GRACE`."""
        manifests.check_app_name(name)
        manifests.check_environment(environment)
        app = App(
            id=new_id("ap"),
            name=name,
            environment=environment,
            ephemeral=True,
            created_at=time.time(),
        )
        self._registry.add(app)
        call_later = self._call_later or asyncio.get_running_loop().call_later
        self._waiting[app.id] = call_later(SESSION_GRACE, lambda: self._never_opened(app))
        return await self._catalog.describe(app.id)

    async def open(self, app_id: str) -> AsyncIterator[SessionEvent]:
        """The app's session. Closing the iterator closes it, and the last one ends the app."""
        app = await self._catalog.find(app_id)
        if not app.ephemeral:
            raise ConflictError(f"app {app.name!r} is deployed: it needs no session")
        self._endings.refuse_ended(app)
        return self._session(app)

    async def close(self) -> None:
        """End every session: the server stops."""
        for app in self._registry.ephemeral(ended=False):
            self._forget_timer(app)
            self._endings.announce(app, "the server is stopping")
            self._logs.end(app.id)
        await asyncio.gather(*self._ending, return_exceptions=True)

    async def _session(self, app: App) -> AsyncIterator[SessionEvent]:
        self._forget_timer(app)
        app.sessions += 1
        try:
            with self._logs.follower(app.id) as lines:
                yield SessionOpened(app_id=app.id)
                async for event in self._events(app, lines):
                    yield event
        finally:
            app.sessions -= 1
            if app.sessions == 0:
                self._end_later(app, "its session was closed")

    async def _events(self, app: App, lines: Follower) -> AsyncIterator[SessionEvent]:
        while app.ended is None:
            try:
                async with asyncio.timeout(self._ping_interval):
                    line = await lines.get()
            except TimeoutError:
                yield SessionPing()
                continue
            if line is None:
                break
            yield SessionLog(line=line)
        yield SessionClosed(reason=app.ended or "the app was stopped")

    def _never_opened(self, app: App) -> None:
        self._end_later(app, f"no session was opened within {SESSION_GRACE:g} s")

    def _end_later(self, app: App, reason: str) -> None:
        # The session's own task is being cancelled, so the app must end in another.
        task = asyncio.get_running_loop().create_task(self._endings.end_run(app, reason))
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)

    def _forget_timer(self, app: App) -> None:
        timer = self._waiting.pop(app.id, None)
        if timer is not None:
            timer.cancel()
