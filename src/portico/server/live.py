"""What runs: for each live app the pools of its current version, and the routes that lead to them."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Collection, Iterator, Mapping
from typing import cast

import msgspec

from portico.control.runtime import ActivationError, Version
from portico.engines.base import Engine
from portico.pools.endpoint import Endpoint
from portico.pools.errors import PoolError, QueueFull, StartFailed
from portico.pools.family import MAX_POOLS, PoolFamily
from portico.pools.member import STOP_GRACE, Member
from portico.pools.pool import Pool
from portico.pools.tally import Subject, Tallies, Tally
from portico.pools.waiter import MAX_WAITING, WaitingRoom
from portico.sandboxes.base import LogSink
from portico.server.gpus import Gpus
from portico.server.seams import Rate, Routes
from portico.wire.api import ContainerInfo, ContainerState
from portico.wire.container import CallResult, ContainerExit, ContainerSpec, LogLine
from portico.wire.manifest import AppManifest, FunctionSpec, MethodSpec, ParameterValue

EPHEMERAL_GRACE = 5.0  # seconds that inputs of a stopped ephemeral app have to end
SOCKET_GRACE = 30.0  # seconds that WebSockets of a replaced deployed version have to end


class LiveApp:
    """One version with its pools."""

    def __init__(
        self,
        version: Version,
        engine: Engine,
        input_ids: itertools.count[int],
        logs: LogSink,
        tallies: Tallies,
        gpus: Gpus,
        alone: Collection[str] = (),
        max_pools: int = MAX_POOLS,
        max_waiting: int = MAX_WAITING,
    ) -> None:
        """`alone` are functions of which this machine can have but one container at a time."""
        self.version = version
        self.alone = alone
        self._gpus = gpus
        self._max_pools = max_pools
        self._max_waiting = max_waiting
        self._engine = engine
        self._input_ids = input_ids
        self._logs = logs
        self._tallies = tallies
        self.families = {
            f.name: self._family(_single(f) if f.name in alone else f)
            for f in version.manifest.functions
        }

    def _family(self, function: FunctionSpec) -> PoolFamily:
        room = WaitingRoom(self._max_waiting)

        def make_pool(values: Mapping[str, ParameterValue]) -> Pool:
            return Pool(
                function,
                self._engine,
                lambda container_id: self.container_spec(function, container_id, values),
                parameters=values,
                input_ids=self._input_ids.__next__,
                on_exit=self._log_exit,
                waiting_room=room,
                tally=self._tally(function.name),
                on_overrun=self._log_overrun,
            )

        refusal = self._gpus.refusal(function)
        return PoolFamily(function, make_pool, max_pools=self._max_pools, refusal=refusal)

    def subject(self, name: str) -> Subject:
        """Whose numbers those of the function or method `name` are."""
        version = self.version
        return Subject(version.environment_name, version.name, name, version.ephemeral)

    def _tally(self, name: str) -> Tally:
        return self._tallies.of(self.subject(name))

    def container_spec(
        self, function: FunctionSpec, container_id: str, values: Mapping[str, ParameterValue]
    ) -> ContainerSpec:
        """The specification of a new container of `function`."""
        version = self.version
        return ContainerSpec(
            container_id=container_id,
            app_id=version.app_id,
            app_name=version.name,
            function_id=version.function_ids[function.name],
            function=function,
            environment=version.environments[function.image],
            source_root=version.source_root,
            env=version.variables(function),
            workdir=version.manifest.images[function.image].workdir,
            parameters={**values},
            ephemeral=version.ephemeral,
            environment_name=version.environment_name,
        )

    def endpoints(self) -> dict[str, Endpoint]:
        """The web functions, by public name."""
        return {
            spec.public_name(method): self._endpoint(spec, method)
            for spec in self.version.manifest.functions
            for method in spec.methods
            if method.web is not None
        }

    def _endpoint(self, function: FunctionSpec, method: MethodSpec) -> Endpoint:
        return Endpoint(
            app_id=self.version.app_id,
            function_id=self.version.function_ids[function.name],
            name=function.public_name(method),
            method=method.name,
            pools=self.families[function.name],
            timeout=function.timeout,
            ephemeral=self.version.ephemeral,
            requires_proxy_auth=method.web is not None and method.web.requires_proxy_auth,
            tally=self._tally(function.public_name(method)),
        )

    @property
    def subjects(self) -> frozenset[Subject]:
        """Everything of which numbers are kept: functions, classes and their web methods."""
        names = {*self.families, *self.endpoints()}
        return frozenset(self.subject(name) for name in names)

    def warm(self) -> None:
        """Let the engine prepare the images, so that the first request waits less."""
        for environment in self.version.environments.values():
            self._engine.warm(environment)

    def start(self) -> None:
        """Begin to keep `min_containers`."""
        for family in self.families.values():
            family.start()

    @property
    def pools(self) -> tuple[Pool, ...]:
        """All pools."""
        return tuple(pool for family in self.families.values() for pool in family.pools)

    async def stop(self, grace: float) -> None:
        """End all containers and wait until they are gone."""
        for family in self.families.values():
            family.stop(grace)
        for pool in self.pools:
            await pool.gone()

    def _log_exit(self, member: Member, exit: ContainerExit) -> None:
        if exit.status != 0:
            self._log(member, f"container {exit.reason}")

    def _log_overrun(self, member: Member) -> None:
        self._log(
            member,
            "container is replaced: an input went on after its time was up and it was cancelled. Code that blocks "
            "cannot be interrupted: bound what it waits for, or give the function a longer timeout",
        )

    def _log(self, member: Member, text: str) -> None:
        self._logs(
            LogLine(
                time=time.time(),
                app_id=self.version.app_id,
                container_id=member.id,
                function=member.function,
                stream="system",
                text=text,
            )
        )


class LiveApps:
    """`portico.control.runtime.Runtime` on pools."""

    def __init__(
        self,
        engine: Engine,
        routes: Routes,
        logs: LogSink,
        *,
        rate: Rate | None = None,
        tallies: Tallies | None = None,
        max_pools: int = MAX_POOLS,
        max_waiting: int = MAX_WAITING,
        gpus: Gpus | None = None,
    ) -> None:
        """`rate` counts calls; requests the gateway counts by itself."""
        self._rate = rate
        self._tallies = tallies or Tallies()
        self._bounds = {"max_pools": max_pools, "max_waiting": max_waiting}
        self._gpus = gpus or Gpus()
        self._engine = engine
        self._routes = routes
        self._logs = logs
        self._apps: dict[str, LiveApp] = {}
        self._input_ids = itertools.count(1)
        self._replaced: dict[LiveApp, asyncio.Task[None]] = {}

    # -- versions

    def warnings(self, manifest: AppManifest) -> Iterator[str]:
        """See `Runtime.warnings`."""
        return self._gpus.warnings(manifest)

    async def activate(self, version: Version) -> None:
        """See `Runtime.activate`."""
        old = self._apps.get(version.app_id)
        functions = version.manifest.functions
        alone = [f.name for f in functions if await self._engine.only_one(f)]
        new = LiveApp(
            version,
            self._engine,
            self._input_ids,
            self._logs,
            self._tallies,
            self._gpus,
            alone,
            **self._bounds,
        )
        new.warm()
        if old is not None:
            await self._prepare(new, old)
        new.start()
        endpoints = new.endpoints()
        self._routes.publish(
            version.app_id,
            {
                host: endpoints[name]
                for name, hosts in version.hosts.items()
                for host in hosts
                if version.holds(host)
            },
            {port: endpoints[name] for name, port in version.ports.items()},
        )
        self._apps[version.app_id] = new
        self._tallies.running(version.app_id, new.subjects)
        if old is not None:
            self._replace(old, new)

    async def _prepare(self, new: LiveApp, old: LiveApp) -> None:
        """Have containers of the new version ready for the work that the old one has now."""
        work = [
            pool.prepare(count)
            for name, family in new.families.items()
            # Where only one can be, its container starts when the old one has gone.
            if name in old.families and name not in new.alone
            for pool, count in family.wanted_after(old.families[name]).items()
        ]
        try:
            await asyncio.gather(*work)
        except BaseException as error:
            await new.stop(0.0)
            if isinstance(error, StartFailed):
                raise ActivationError(error.message, error.traceback) from error
            if isinstance(error, PoolError):
                raise ActivationError(str(error)) from error
            raise

    def _replace(self, old: LiveApp, new: LiveApp) -> None:
        """The routes lead to `new` now: hand its queue over, and let what runs in `old` end."""
        grace = 0.0 if new.version.ephemeral else SOCKET_GRACE
        for name, family in old.families.items():
            family.hand_over(new.families.get(name), grace)
        self._replaced[old] = asyncio.create_task(self._see_off(old))

    async def _see_off(self, old: LiveApp) -> None:
        for pool in old.pools:
            await pool.gone()
        del self._replaced[old]

    async def deactivate(self, app_id: str) -> None:
        """See `Runtime.deactivate`."""
        app = self._apps.pop(app_id, None)
        self._routes.withdraw(app_id)
        self._tallies.running(app_id, frozenset())
        if app is None:
            return
        grace = EPHEMERAL_GRACE if app.version.ephemeral else STOP_GRACE
        replaced = [old for old in self._replaced if old.version.app_id == app_id]
        await asyncio.gather(*(each.stop(grace) for each in (app, *replaced)))

    async def open_port(self, preferred: int | None) -> int:
        """See `Runtime.open_port`."""
        return await self._routes.open_port(preferred)

    async def close(self, grace: float) -> None:
        """End every app."""
        for app_id in tuple(self._apps):
            self._routes.withdraw(app_id)
        live, leaving = self.live, tuple(self._replaced.values())
        self._apps = {}
        await asyncio.gather(*(app.stop(grace) for app in live), *leaving)

    @property
    def live(self) -> tuple[LiveApp, ...]:
        """Versions with containers: the replaced ones too, while theirs end."""
        return (*self._replaced, *self._apps.values())

    # -- containers

    def containers(self, app_id: str | None = None) -> list[ContainerInfo]:
        """See `Runtime.containers`."""
        wall = time.time() - asyncio.get_running_loop().time()
        return [
            ContainerInfo(
                container_id=member.id,
                app_id=app.version.app_id,
                app=app.version.name,
                function=member.function,
                state=cast(ContainerState, member.state.value),
                started_at=wall + member.created_at,
                running=len(member.leases),
                parameters={**pool.parameters},
                pid=member.pid,
                environment=app.version.environment_name,
            )
            for app in self.live
            if app_id is None or app.version.app_id == app_id
            for pool in app.pools
            for member in pool.members
        ]

    def stop_container(self, container_id: str) -> bool:
        """See `Runtime.stop_container`."""
        return any(pool.stop_container(container_id) for app in self.live for pool in app.pools)

    # -- calls

    def admit_call(self) -> int:
        """See `Runtime.admit_call`."""
        rate = self._rate
        return 0 if rate is None or rate.take() else rate.retry_after

    async def call(
        self,
        app_id: str,
        function: str,
        method: str,
        parameters: Mapping[str, ParameterValue],
        call_id: str,
        payload: bytes,
    ) -> CallResult:
        """See `Runtime.call`."""
        app = self._apps[app_id]
        family = app.families[function]
        try:
            lease = await family.for_values(parameters).acquire()
        except StartFailed as error:
            raise ActivationError(error.message, error.traceback) from error
        except QueueFull:
            raise
        except PoolError as error:
            raise ActivationError(str(error)) from error
        outcome: asyncio.Future[CallResult] = asyncio.get_running_loop().create_future()

        def lost(reason: str) -> None:
            if not outcome.done():
                outcome.set_exception(ActivationError(f"the container {reason} during the call"))

        def result(value: CallResult) -> None:
            if not outcome.done():
                outcome.set_result(value)

        lease.on_lost, lease.on_result = lost, result
        lease.call(call_id, method, payload)
        timeout = family.function.timeout
        try:
            async with asyncio.timeout(timeout):
                answer = await outcome
        except TimeoutError:
            lease.cancel(patience=0.0)
            raise ActivationError(
                f"the call took longer than its timeout of {timeout:g} s"
            ) from None
        except asyncio.CancelledError:
            lease.cancel()
            raise
        lease.finish()
        return answer


def _single(function: FunctionSpec) -> FunctionSpec:
    scaling = function.scaling
    bounds = {"max_containers": 1, "min_containers": min(scaling.min_containers, 1)}
    scaling = msgspec.structs.replace(scaling, **bounds, buffer_containers=0)
    return msgspec.structs.replace(function, scaling=scaling)
