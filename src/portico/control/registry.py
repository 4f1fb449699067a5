"""What this process knows of an app while it runs: its lock, what it serves, and its sessions."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from portico.control.sources import Tree
from portico.control.store.apps import AppRow
from portico.wire.manifest import AppManifest
from portico.wire.names import MAIN

MAX_ENDED = 100  # ephemeral apps remembered after their end


@dataclass(frozen=True, kw_only=True)
class Serving:
    """The version that serves an app here, resolved."""

    version: int
    manifest: AppManifest
    function_ids: Mapping[str, str]
    hosts: Mapping[str, tuple[str, ...]]
    ports: Mapping[str, int]
    tree: Tree


@dataclass(kw_only=True, eq=False)
class App:
    """One app. `lock` is held by whoever changes what it serves.

    `bound` are loopback ports by host that the runtime holds for the app, also of deploys that failed.
    `ended` says why an ephemeral app ends, `over` that it has; `deploys` are those that may still be
    cancelled; `error` why a deployed one could not be brought back.
    """

    id: str
    name: str
    environment: str
    ephemeral: bool
    created_at: float
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    serving: Serving | None = None
    bound: dict[str, int] = field(default_factory=dict)
    deploys: set[asyncio.Task[None]] = field(default_factory=set)
    last_version: int = 0
    sessions: int = 0
    error: str | None = None
    ended: str | None = None
    over: bool = False
    stopped_at: float | None = None

    @property
    def argument(self) -> str:
        """How a command line names the app."""
        return self.name if self.environment == MAIN else f"{self.name} --env {self.environment}"

    def __str__(self) -> str:
        if self.environment == MAIN:
            return f"app {self.name}"
        return f"app {self.name} of environment {self.environment}"


class Registry:
    """Apps of this process by id. Ephemeral ones live here only; a few are remembered after their end."""

    def __init__(self) -> None:
        self._apps: dict[str, App] = {}
        self._ended: OrderedDict[str, App] = OrderedDict()

    def __iter__(self) -> Iterator[App]:
        return iter(list(self._apps.values()))

    def add(self, app: App) -> None:
        """A new ephemeral app."""
        self._apps[app.id] = app

    def persistent(self, row: AppRow) -> App:
        """The one `App` of a stored app, made at its first use."""
        app = self._apps.get(row.id)
        if app is None:
            app = App(
                id=row.id,
                name=row.name,
                environment=row.environment,
                ephemeral=False,
                created_at=row.created_at,
            )
            self._apps[row.id] = app
        return app

    def get(self, app_id: str) -> App | None:
        """The app of that id."""
        return self._apps.get(app_id) or self._ended.get(app_id)

    def ephemeral_named(self, name: str, environment: str) -> App | None:
        """The newest live ephemeral app of that name in `environment`."""
        wanted = (name, environment)
        runs = self.ephemeral(ended=False)
        found = [app for app in runs if (app.name, app.environment) == wanted]
        return found[-1] if found else None

    def ephemeral(self, *, ended: bool) -> list[App]:
        """Live ephemeral apps, with those that have ended if asked for."""
        live = [app for app in self._apps.values() if app.ephemeral]
        return [*self._ended.values(), *live] if ended else live

    def end(self, app: App) -> App | None:
        """An ephemeral app is over. Returns the one that is forgotten for it, if any."""
        if self._apps.pop(app.id, None) is None:
            return None
        self._ended[app.id] = app
        return self._ended.popitem(last=False)[1] if len(self._ended) > MAX_ENDED else None
