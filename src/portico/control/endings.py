"""How apps stop serving, whoever asked for it."""

from __future__ import annotations

import time

from portico.control.errors import NotFoundError
from portico.control.logs import Logs
from portico.control.naming import Hosts
from portico.control.registry import App, Registry
from portico.control.runtime import Runtime


class Endings:
    """Withdraws apps and ends ephemeral ones."""

    def __init__(self, *, runtime: Runtime, registry: Registry, hosts: Hosts, logs: Logs) -> None:
        self._runtime = runtime
        self._registry = registry
        self._hosts = hosts
        self._logs = logs

    def refuse_ended(self, app: App) -> None:
        """Raise `NotFoundError` for an ephemeral app that is over."""
        if app.ended is not None:
            raise NotFoundError(f"this run of {app.name!r} is over: {app.ended}")

    def announce(self, app: App, reason: str) -> None:
        """An ephemeral app is to end; the first reason given is the one its sessions are told.

        Nothing begins for it any more, and deploys that have not reached their switch end.
        """
        if app.ended is None:
            app.ended = reason
            app.stopped_at = time.time()
        self.abandon_deploys(app)

    async def end_run(self, app: App, reason: str) -> None:
        """End an ephemeral app. Idempotent; returns when it is withdrawn."""
        self.announce(app, reason)
        async with app.lock:
            if app.over:
                return
            app.over = True
            await self.withdraw(app)
        self._logs.end(app.id)
        forgotten = self._registry.end(app)
        if forgotten is not None:
            await self._logs.remove(forgotten.id)

    async def withdraw(self, app: App) -> None:
        """Take the app's routes away and end its containers. The caller holds the app's lock."""
        serving, app.serving = app.serving, None
        self._hosts.release(app.id)
        app.bound.clear()
        await self._runtime.deactivate(app.id)
        if serving is not None:
            serving.tree.release()

    def abandon_deploys(self, app: App) -> None:
        """End deploys of the app that have not reached their switch."""
        for task in list(app.deploys):
            task.cancel()
