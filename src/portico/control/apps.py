"""The write side of apps: made, deployed, rolled back, stopped, and brought back when the server starts."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator

from portico.control import manifests
from portico.control.builds import Emit
from portico.control.catalog import Catalog
from portico.control.crypto import Vault
from portico.control.deploys import Deployer, open_manifest
from portico.control.endings import Endings
from portico.control.errors import ControlError, InvalidRequestError, NotFoundError
from portico.control.registry import App, Registry
from portico.control.store.apps import AppRow, AppStore
from portico.wire.api import AppInfo, Deployed, DeployEvent, DeployFailed
from portico.wire.ids import new_id
from portico.wire.manifest import AppManifest
from portico.wire.names import MAIN

logger = logging.getLogger(__name__)

RESTORE_WAIT = 30.0  # seconds a start waits for apps to come back; slower ones follow
RESTORED_AT_ONCE = 4


class Apps:
    """Changes what apps serve. Raises `ControlError` for what cannot be done."""

    def __init__(
        self,
        *,
        store: AppStore,
        vault: Vault,
        registry: Registry,
        deployer: Deployer,
        endings: Endings,
        catalog: Catalog,
    ) -> None:
        self._store = store
        self._vault = vault
        self._registry = registry
        self._deployer = deployer
        self._endings = endings
        self._catalog = catalog
        self._deploys: set[asyncio.Task[None]] = set()
        self._restores: set[asyncio.Task[None]] = set()

    async def create(self, name: str, environment: str) -> AppInfo:
        """The persistent app called `name` in `environment`, made where there is none."""
        manifests.check_app_name(name)
        manifests.check_environment(environment)
        return await self._catalog.describe_row(
            await self._store.create(new_id("ap"), name, time.time(), environment=environment)
        )

    async def deploy(self, app_id: str, manifest: AppManifest) -> AsyncIterator[DeployEvent]:
        """Make `manifest` the app's new version, told step by step.

        The last event is `Deployed` or `DeployFailed`; after a failure what served before still serves.
        A consumer that goes away before the switch ends the deploy.
        """
        app = await self._catalog.find(app_id)
        return self._told(app, manifest, None)

    async def rollback(
        self, ref: str, version: int | None, environment: str = MAIN
    ) -> AsyncIterator[DeployEvent]:
        """Deploy an older version again, by default the one before the current, under a new number."""
        app = await self._catalog.find(ref, environment)
        if app.ephemeral:
            raise InvalidRequestError("only deployed apps have versions to go back to")
        if version is None:
            version = await self._previous(app)
        row = await self._store.version(app.id, version)
        if row is None:
            raise NotFoundError(
                f"app {app.name!r} has no version {version}: see `portico app history {app.argument}`"
            )
        return self._told(app, open_manifest(self._vault, app.id, row.manifest), version)

    async def stop(self, ref: str, environment: str = MAIN) -> AppInfo:
        """Withdraw the app: its URLs answer 404 and its containers end. Idempotent."""
        app = await self._catalog.find(ref, environment)
        if app.ephemeral:
            await self._endings.end_run(app, "the app was stopped")
            return self._catalog.describe_run(app)
        self._endings.abandon_deploys(app)
        async with app.lock:
            await self._store.stop(app.id, time.time())
            await self._endings.withdraw(app)
            app.error = None
        return await self._catalog.describe_row(await self._catalog.row(app))

    async def restore(self) -> None:
        """Bring deployed apps back, each on its own: one that cannot come back shows its error."""
        slots = asyncio.Semaphore(RESTORED_AT_ONCE)
        rows = await self._store.all(deployed_only=True)
        self._restores = {asyncio.create_task(self._restore(row, slots)) for row in rows}
        if self._restores:
            await asyncio.wait(self._restores, timeout=RESTORE_WAIT)

    async def close(self) -> None:
        """End deploys under way; what serves is the runtime's to end."""
        for app in self._registry:
            self._endings.abandon_deploys(app)
        for restore in self._restores:
            restore.cancel()
        await asyncio.gather(*self._deploys, *self._restores, return_exceptions=True)
        for app in self._registry:
            if app.serving is not None:
                app.serving.tree.release()

    async def _told(
        self, app: App, manifest: AppManifest, rolled_back_from: int | None
    ) -> AsyncIterator[DeployEvent]:
        events: asyncio.Queue[DeployEvent] = asyncio.Queue()
        task = asyncio.create_task(self._deploy(app, manifest, rolled_back_from, events.put_nowait))
        self._deploys.add(task)
        app.deploys.add(task)

        def done(task: asyncio.Task[None]) -> None:
            self._deploys.discard(task)
            app.deploys.discard(task)
            if task.cancelled():
                events.put_nowait(DeployFailed(message="the deploy was ended before it was done"))

        task.add_done_callback(done)
        try:
            while True:
                event = await events.get()
                yield event
                if isinstance(event, (Deployed, DeployFailed)):
                    return
        finally:
            if task in app.deploys:
                task.cancel()

    async def _deploy(
        self, app: App, manifest: AppManifest, rolled_back_from: int | None, emit: Emit
    ) -> None:
        try:
            async with app.lock:
                self._endings.refuse_ended(app)
                prepared = await self._deployer.prepare(app, manifest, emit)
                # From here on it is all or nothing, whoever goes away.
                app.deploys.discard(_this_task())
                commit = self._deployer.commit(app, prepared, rolled_back_from=rolled_back_from)
                emit(await commit)
        except ControlError as error:
            emit(DeployFailed(message=error.message, detail=error.detail))
        except Exception:
            logger.exception("deploy of %s failed", app.name)
            emit(DeployFailed(message="the server failed: see its log"))

    async def _restore(self, row: AppRow, slots: asyncio.Semaphore) -> None:
        app = self._registry.persistent(row)
        async with slots, app.lock:
            try:
                manifest = await self._catalog.manifest(row)
                await self._deployer.restore(app, manifest, row.version)
            except ControlError as error:
                app.error = error.message
                logger.warning("app %s did not come back: %s", app.name, error.message)
            except Exception as error:
                app.error = f"{type(error).__name__}: {error}"
                logger.exception("app %s did not come back", app.name)

    async def _previous(self, app: App) -> int:
        row = await self._catalog.row(app)
        older = [v.version for v in await self._store.history(app.id) if v.version < row.version]
        if not older:
            raise NotFoundError(f"app {app.name!r} has no older version")
        return older[0]


def _this_task() -> asyncio.Task[None]:
    task: asyncio.Task[None] | None = asyncio.current_task()
    assert task is not None
    return task
