"""From a manifest to a version that serves: check, build, assemble, activate, remember."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace

import msgspec

from portico.control import manifests
from portico.control.blobs import Blobs
from portico.control.builds import Emit, build_images
from portico.control.crypto import Vault
from portico.control.endings import Endings
from portico.control.errors import ConflictError, ControlError, DeployError
from portico.control.naming import Hosts, Site, flatten, hosts_of, own_hosts
from portico.control.registry import App, Registry, Serving
from portico.control.runtime import ActivationError, Runtime, Version
from portico.control.secrets import Secrets
from portico.control.sources import Sources, Tree, blobs_needed
from portico.control.store.apps import AppStore
from portico.images.base import ImageBuilder
from portico.wire.api import Deployed, Warned
from portico.wire.ids import new_id
from portico.wire.image import ImageEnvironment
from portico.wire.manifest import AppManifest, FunctionSpec, NamedSecret

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """A version that only has to be activated."""

    manifest: AppManifest
    hosts: Mapping[str, tuple[str, ...]]
    environments: Mapping[str, ImageEnvironment]
    tree: Tree


class Deployer:
    """Takes apps to new versions. The caller holds the app's lock."""

    def __init__(
        self,
        *,
        apps: AppStore,
        vault: Vault,
        secrets: Secrets,
        blobs: Blobs,
        sources: Sources,
        builder: ImageBuilder,
        runtime: Runtime,
        registry: Registry,
        hosts: Hosts,
        site: Site,
        endings: Endings,
    ) -> None:
        self._apps = apps
        self._vault = vault
        self._secrets = secrets
        self._blobs = blobs
        self._sources = sources
        self._builder = builder
        self._runtime = runtime
        self._registry = registry
        self._hosts = hosts
        self._site = site
        self._endings = endings

    async def prepare(self, app: App, manifest: AppManifest, emit: Emit) -> Prepared:
        """Everything that can be done while the old version serves. May be cancelled. Raises `ControlError`."""
        manifests.check(manifest, app.name)
        hosts = self._free_hosts(app, manifest, emit)
        await self._secrets.load()
        self._secrets.require(manifests.named_secrets(manifest))
        missing = await asyncio.to_thread(self._blobs.missing, blobs_needed(manifest))
        if missing:
            raise DeployError(
                f"{len(missing)} files of the app are not on the server: deploy again"
            )
        for warning in self._runtime.warnings(manifest):
            emit(Warned(message=warning))
        environments = await build_images(self._builder, manifest, emit)
        tree = await self._assemble(manifest)
        return Prepared(manifest=manifest, hosts=hosts, environments=environments, tree=tree)

    async def commit(
        self, app: App, prepared: Prepared, *, rolled_back_from: int | None = None
    ) -> Deployed:
        """Make a prepared version the one that serves, or change nothing. Not to be cancelled."""
        former = app.serving
        displaced: dict[str, str] = {}
        try:
            displaced = await self._take_hosts(app, prepared.hosts)
            version = await self._draft(app, prepared, rolled_back_from)
            serving = await self._activate(app, prepared, version)
            await self._record(app, serving, former, prepared)
        except BaseException:
            self._hosts.release(app.id, keep=flatten(former.hosts) if former else ())
            self._give_back(displaced)
            prepared.tree.release()
            raise
        self._replace(app, serving)
        self._show_without(displaced)
        return self._deployed(app, serving)

    async def restore(self, app: App, manifest: AppManifest, version: int) -> None:
        """Bring a stored version back as it was. The app keeps its hosts even where this fails."""
        prepared = await self._prepare_known(app, manifest)
        try:
            serving = await self._activate(app, prepared, version)
        except BaseException:
            prepared.tree.release()
            raise
        self._replace(app, serving)

    async def _prepare_known(self, app: App, manifest: AppManifest) -> Prepared:
        hosts = hosts_of(manifest, self._site, environment=app.environment, ephemeral=False)
        taken = self._hosts.owners(flatten(hosts), but=app.id)
        if taken:
            raise DeployError(
                f"{', '.join(taken)} is served by another app: deploy with a new label"
            )
        self._hosts.take(flatten(hosts), app.id)
        environments = await build_images(self._builder, manifest)
        tree = await self._assemble(manifest)
        return Prepared(manifest=manifest, hosts=hosts, environments=environments, tree=tree)

    # ---- hosts

    def _free_hosts(
        self, app: App, manifest: AppManifest, emit: Emit
    ) -> dict[str, tuple[str, ...]]:
        hosts = hosts_of(manifest, self._site, environment=app.environment, ephemeral=app.ephemeral)
        if app.ephemeral:
            ended = set(self._hosts.owners(own_hosts(hosts), but=app.id).values())
            hosts = {
                public: self._free_domains(app, names, ended, emit)
                for public, names in hosts.items()
            }
        self._refuse_deployed(app, hosts)
        return hosts

    def _free_domains(
        self, app: App, names: tuple[str, ...], ended: set[str], emit: Emit
    ) -> tuple[str, ...]:
        """A run has the custom domains that nobody holds, or that those hold which it ends (`ended`)."""
        own, *domains = names
        taken = {
            domain: owner
            for domain, owner in self._hosts.owners(domains, but=app.id).items()
            if owner not in ended
        }
        for domain, owner in taken.items():
            emit(Warned(message=f"{domain} stays with {self._title(owner)}; this run is at {own}"))
        return (own, *(domain for domain in domains if domain not in taken))

    def _refuse_deployed(self, app: App, hosts: Mapping[str, tuple[str, ...]]) -> None:
        for host, owner in self._hosts.owners(flatten(hosts), but=app.id).items():
            other = self._registry.get(owner)
            if other is not None and other.ephemeral:
                continue
            raise ConflictError(
                f"{host} is served by {self._title(owner)}: choose another label or domain, "
                f"or run `portico app stop {other.argument if other else owner}`"
            )

    async def _take_hosts(self, app: App, hosts: Mapping[str, tuple[str, ...]]) -> dict[str, str]:
        """Hold `hosts`. Runs whose own hosts these were end; returns the domains of those that go on without."""
        self._endings.refuse_ended(app)
        self._refuse_deployed(app, hosts)
        wanted = flatten(hosts)
        former = self._hosts.owners(wanted, but=app.id)
        self._hosts.take(wanted, app.id)
        evicted = [
            other
            for owner in dict.fromkeys(former.values())
            if (other := self._registry.get(owner)) is not None
            and not _can_do_without(other, former)
        ]
        reason = f"a newer run of {app.name} has taken its URL over"
        # All are told before the first is waited for: two apps must not evict each other.
        for other in evicted:
            self._endings.announce(other, reason)
        for other in evicted:
            await self._endings.end_run(other, reason)
        ended = {other.id for other in evicted}
        return {host: owner for host, owner in former.items() if owner not in ended}

    def _give_back(self, displaced: Mapping[str, str]) -> None:
        """The switch failed: the runs that were to go on without their domains have them again."""
        for domain, owner in displaced.items():
            other = self._registry.get(owner)
            if other is not None and other.ended is None:
                self._hosts.take([domain], owner)

    def _show_without(self, displaced: Mapping[str, str]) -> None:
        """Runs go on without the domains that another app has now."""
        for owner in set(displaced.values()):
            other = self._registry.get(owner)
            if other is not None and other.serving is not None:
                other.serving = self._held(other, other.serving)

    def _held(self, app: App, serving: Serving) -> Serving:
        """What serves, without custom domains that are another app's by now."""
        hosts = {
            public: (own, *(domain for domain in domains if self._hosts.holds(domain, app.id)))
            for public, (own, *domains) in serving.hosts.items()
        }
        return replace(serving, hosts=hosts)

    def _title(self, app_id: str) -> str:
        app = self._registry.get(app_id)
        return f"app {app_id}" if app is None else str(app)

    async def _assemble(self, manifest: AppManifest) -> Tree:
        job = asyncio.create_task(asyncio.to_thread(self._sources.assemble, manifest))
        try:
            return await asyncio.shield(job)
        except asyncio.CancelledError:
            # The thread cannot be stopped; what it returns must not stay locked.
            (await job).release()
            raise

    # ---- the switch

    async def _draft(self, app: App, prepared: Prepared, rolled_back_from: int | None) -> int:
        if app.ephemeral:
            app.last_version += 1
            return app.last_version
        return await self._apps.draft_version(
            app.id,
            seal_manifest(self._vault, app.id, prepared.manifest),
            functions=sum(1 for _ in manifests.public_methods(prepared.manifest)),
            now=time.time(),
            rolled_back_from=rolled_back_from,
        )

    async def _activate(self, app: App, prepared: Prepared, version: int) -> Serving:
        serving = Serving(
            version=version,
            manifest=prepared.manifest,
            function_ids=await self._function_ids(app, prepared.manifest),
            hosts=prepared.hosts,
            ports=await self._open_ports(app, prepared.hosts),
            tree=prepared.tree,
        )
        await self._run(app, serving, prepared.environments)
        return serving

    async def _run(
        self, app: App, serving: Serving, environments: Mapping[str, ImageEnvironment]
    ) -> None:
        version = Version(
            app_id=app.id,
            name=app.name,
            version=serving.version,
            manifest=serving.manifest,
            ephemeral=app.ephemeral,
            source_root=str(serving.tree.path),
            function_ids={f.name: serving.function_ids[f.name] for f in serving.manifest.functions},
            environments=environments,
            variables=lambda function: self._variables(serving.manifest, function),
            hosts=serving.hosts,
            ports=serving.ports,
            environment_name=app.environment,
            holds=lambda host: self._hosts.holds(host, app.id),
        )
        try:
            await self._runtime.activate(version)
        except ActivationError as error:
            raise DeployError(error.message, error.detail) from error

    async def _record(
        self, app: App, serving: Serving, former: Serving | None, prepared: Prepared
    ) -> None:
        if app.ephemeral:
            return
        try:
            await self._apps.activate_version(app.id, serving.version, time.time())
        except ControlError:
            # What a restart would bring back must be what serves, so the switch is undone.
            await self._reinstate(app, former)
            raise

    async def _reinstate(self, app: App, former: Serving | None) -> None:
        if former is None:
            await self._runtime.deactivate(app.id)
            app.bound.clear()
            return
        environments = await build_images(self._builder, former.manifest)
        await self._run(app, former, environments)
        app.bound = {
            names[0]: former.ports[p] for p, names in former.hosts.items() if p in former.ports
        }

    async def _function_ids(self, app: App, manifest: AppManifest) -> dict[str, str]:
        names = manifests.names_with_ids(manifest)
        if not app.ephemeral:
            return await self._apps.function_ids(app.id, names)
        known = app.serving.function_ids if app.serving else {}
        return {name: known.get(name) or new_id("fu") for name in names}

    async def _open_ports(self, app: App, hosts: Mapping[str, tuple[str, ...]]) -> dict[str, int]:
        if not self._site.has_own_ports:
            return {}
        own = {public: names[0] for public, names in hosts.items()}
        unbound = [host for host in own.values() if host not in app.bound]
        if unbound:
            remembered = await self._apps.ports(unbound)
            for host in unbound:
                app.bound[host] = await self._runtime.open_port(remembered.get(host))
            # Two runs of one script share the remembered port; the first keeps it.
            chosen = {host: app.bound[host] for host in unbound}
            await self._apps.remember_ports(chosen, replace=not app.ephemeral)
        return {public: app.bound[host] for public, host in own.items()}

    def _variables(self, manifest: AppManifest, function: FunctionSpec) -> dict[str, str]:
        variables = dict(manifest.images[function.image].env)
        for secret in function.secrets:
            if not isinstance(secret, NamedSecret):
                variables.update(secret.values)
                continue
            values = self._secrets.values(secret.name)
            if values is None:
                logger.warning(
                    "%s starts without secret %r: it is gone", function.name, secret.name
                )
            variables.update(values or {})
        return variables | function.env

    def _replace(self, app: App, serving: Serving) -> None:
        former, app.serving = app.serving, self._held(app, serving)
        if former is not None:
            former.tree.release()
        app.error = None
        app.stopped_at = None
        kept = {names[0] for names in serving.hosts.values()}
        app.bound = {host: port for host, port in app.bound.items() if host in kept}
        self._hosts.release(app.id, keep=flatten(serving.hosts))

    def _deployed(self, app: App, serving: Serving) -> Deployed:
        return Deployed(
            app_id=app.id,
            name=app.name,
            version=serving.version,
            functions=manifests.function_infos(
                serving.manifest, self._site, serving.function_ids, serving.hosts, serving.ports
            ),
        )


def _can_do_without(run: App, hosts: Mapping[str, str]) -> bool:
    """Whether an ephemeral app goes on when others take `hosts`: its custom domains, but not its own hosts."""
    return run.serving is not None and not set(own_hosts(run.serving.hosts)) & hosts.keys()


def seal_manifest(vault: Vault, app_id: str, manifest: AppManifest) -> bytes:
    """A manifest as the store keeps it: whole and sealed, for it may hold secrets."""
    return vault.seal(msgspec.msgpack.encode(manifest), f"manifest of {app_id}")


def open_manifest(vault: Vault, app_id: str, sealed: bytes) -> AppManifest:
    """The manifest of a stored version. Raises `ControlError`."""
    clear = vault.open(sealed, f"manifest of {app_id}")
    try:
        return msgspec.msgpack.decode(clear, type=AppManifest)
    except msgspec.DecodeError as error:
        raise DeployError(f"the stored manifest cannot be read: {error}; deploy again") from error
