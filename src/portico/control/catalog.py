"""The read side of apps: finding them and telling what they are."""

from __future__ import annotations

import msgspec

from portico.control import manifests
from portico.control.crypto import Vault
from portico.control.deploys import open_manifest
from portico.control.errors import ControlError, NotFoundError
from portico.control.naming import Site, flatten, hosts_of
from portico.control.registry import App, Registry
from portico.control.runtime import Runtime
from portico.control.store.apps import AppRow, AppStore
from portico.wire.api import AppInfo, FunctionHandle, FunctionInfo, VersionInfo
from portico.wire.manifest import AppManifest, FunctionSpec
from portico.wire.names import MAIN


class Catalog:
    """Apps as clients see them. Raises `ControlError`."""

    def __init__(
        self, *, store: AppStore, vault: Vault, registry: Registry, runtime: Runtime, site: Site
    ) -> None:
        self._store = store
        self._vault = vault
        self._registry = registry
        self._runtime = runtime
        self._site = site

    async def find(self, ref: str, environment: str = MAIN) -> App:
        """The app with `ref` as its id, or as its name in `environment`.

        Of one name, a deployed app comes first, then the newest run.
        """
        app = self._registry.get(ref)
        if app is not None:
            return app
        row = await self._store.find(ref, environment)
        run = self._registry.ephemeral_named(ref, environment)
        if run is not None and (row is None or not row.deployed):
            return run
        if row is None:
            where = "" if environment == MAIN else f" in environment {environment!r}"
            raise NotFoundError(f"there is no app {ref!r}{where}: see `portico app list`")
        return self._registry.persistent(row)

    async def describe(self, ref: str, environment: str = MAIN) -> AppInfo:
        """One app."""
        app = await self.find(ref, environment)
        if app.ephemeral:
            return self.describe_run(app)
        return await self.describe_row(await self.row(app))

    async def all(self, *, stopped: bool, environment: str | None = None) -> list[AppInfo]:
        """Live apps of all environments or of one, by age; with `stopped` also those that are not live any more."""
        rows = await self._store.all(deployed_only=not stopped)
        infos = [await self.describe_row(row) for row in rows]
        infos += [self.describe_run(app) for app in self._registry.ephemeral(ended=stopped)]
        wanted = [info for info in infos if environment in (None, info.environment)]
        return sorted(wanted, key=lambda info: info.created_at)

    async def history(self, ref: str, environment: str = MAIN) -> list[VersionInfo]:
        """Versions that have served, newest first; none for an ephemeral app."""
        app = await self.find(ref, environment)
        if app.ephemeral:
            return []
        row = await self.row(app)
        return [
            VersionInfo(
                version=version.version,
                created_at=version.created_at,
                current=version.version == row.version,
                functions=version.functions,
                rolled_back_from=version.rolled_back_from,
            )
            for version in await self._store.history(app.id)
        ]

    async def function(self, ref: str, name: str, environment: str = MAIN) -> FunctionHandle:
        """What a client needs to call a function or class; `name` may be ``Class.method`` too."""
        app = await self.find(ref, environment)
        if app.serving is None:
            raise NotFoundError(f"app {app.name!r} does not run here: deploy it first")
        spec = _function(app.serving.manifest, name)
        hosts, ports = app.serving.hosts, app.serving.ports
        publics = {method.name: spec.public_name(method) for method in spec.methods if method.web}
        return FunctionHandle(
            app_id=app.id,
            function_id=app.serving.function_ids[spec.name],
            # A handle goes to every client: what the function is given stays here.
            spec=msgspec.structs.replace(spec, secrets=(), env={}, serialized=None),
            urls={
                method: self._site.urls(hosts[public], ports.get(public))
                for method, public in publics.items()
            },
        )

    def live(self) -> int:
        """How many apps serve here."""
        return sum(1 for app in self._registry if app.serving is not None)

    async def row(self, app: App) -> AppRow:
        """What the store has of a persistent app."""
        row = await self._store.find(app.id)
        if row is None:
            raise NotFoundError(f"app {app.name!r} is gone")
        return row

    async def manifest(self, row: AppRow) -> AppManifest:
        """The manifest of the version that serves."""
        version = await self._store.version(row.id, row.version)
        if version is None:
            raise NotFoundError(f"app {row.name!r} has no version {row.version}: deploy it again")
        return open_manifest(self._vault, row.id, version.manifest)

    async def describe_row(self, row: AppRow) -> AppInfo:
        """A persistent app."""
        app = self._registry.persistent(row)
        error = app.error
        functions: list[FunctionInfo] = []
        try:
            functions = await self._functions(app, row)
        except ControlError as problem:
            error = error or problem.message
        return AppInfo(
            app_id=row.id,
            name=row.name,
            state="deployed" if row.deployed else "stopped",
            version=row.version,
            created_at=row.created_at,
            functions=functions,
            containers=len(self._runtime.containers(row.id)),
            stopped_at=row.stopped_at,
            error=error,
            environment=row.environment,
        )

    async def _functions(self, app: App, row: AppRow) -> list[FunctionInfo]:
        if app.serving is not None or not row.deployed:
            return self._serving_functions(app)
        # Deployed, but served by another process of this state folder, or broken.
        manifest = await self.manifest(row)
        hosts = hosts_of(manifest, self._site, environment=row.environment, ephemeral=False)
        remembered = await self._store.ports(flatten(hosts)) if self._site.has_own_ports else {}
        ports = {public: remembered[h[0]] for public, h in hosts.items() if h[0] in remembered}
        ids = await self._store.function_ids(row.id, manifests.names_with_ids(manifest))
        return manifests.function_infos(manifest, self._site, ids, hosts, ports)

    def _serving_functions(self, app: App) -> list[FunctionInfo]:
        serving = app.serving
        if serving is None:
            return []
        return manifests.function_infos(
            serving.manifest, self._site, serving.function_ids, serving.hosts, serving.ports
        )

    def describe_run(self, app: App) -> AppInfo:
        """An ephemeral app."""
        return AppInfo(
            app_id=app.id,
            name=app.name,
            state="ephemeral" if app.ended is None else "stopped",
            version=app.last_version,
            created_at=app.created_at,
            functions=self._serving_functions(app),
            containers=len(self._runtime.containers(app.id)),
            stopped_at=app.stopped_at,
            environment=app.environment,
        )


def _function(manifest: AppManifest, name: str) -> FunctionSpec:
    for public, spec, _ in manifests.public_methods(manifest):
        if name in (spec.name, public):
            return spec
    names = ", ".join(sorted(function.name for function in manifest.functions))
    raise NotFoundError(f"app {manifest.name!r} has no function {name!r}; it has: {names}")
