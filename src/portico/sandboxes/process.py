"""The process sandbox: a container is a process group in its image's environment. No isolation."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

from portico.sandboxes.base import LogSink, SandboxListener
from portico.sandboxes.container import ProcessContainer
from portico.sandboxes.ledger import Ledger
from portico.sandboxes.network import Networks
from portico.sandboxes.zygote import SandboxError, Zygote
from portico.wire.container import ContainerSpec
from portico.wire.image import ImageEnvironment

ZYGOTE_IDLE = 300.0  # seconds a zygote outlives its last container
STOP_GRACE = 30.0  # seconds


class ProcessSandbox:
    """Runs containers of this machine under `run_dir`, their output going to `logs`.

    Making one ends whatever a former server, killed without warning, left running there; it blocks for that.
    `zygote_idle` and `stop_grace` are in seconds; the latter is what `close` gives containers that still run.
    """

    name = "process"

    def __init__(
        self,
        run_dir: Path,
        logs: LogSink,
        *,
        zygote_idle: float = ZYGOTE_IDLE,
        stop_grace: float = STOP_GRACE,
        networks: Networks | None = None,
    ) -> None:
        self._run_dir = run_dir
        self._logs = logs
        self._zygote_idle = zygote_idle
        self._stop_grace = stop_grace
        self._ledger = Ledger(run_dir)
        self._networks = networks or Networks()
        self._zygotes: dict[ImageEnvironment, Zygote] = {}
        self._idle: dict[ImageEnvironment, asyncio.TimerHandle] = {}
        self._users: dict[ImageEnvironment, int] = {}
        self._containers: set[ProcessContainer] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._closed = False

    def start(self, spec: ContainerSpec, listener: SandboxListener) -> ProcessContainer:
        """Begin to start a container and return at once."""
        container = ProcessContainer(
            spec,
            listener,
            run_dir=self._run_dir,
            ledger=self._ledger,
            networks=self._networks,
            logs=self._logs,
        )
        self._containers.add(container)
        self._spawn(self._run(container, spec.environment))
        return container

    async def shares_network(self) -> bool:
        """Whether this machine has one network for all containers."""
        return bool((await self._networks.choose()).shared_because)

    def warm(self, environment: ImageEnvironment) -> None:
        """Boot the image's zygote."""
        self._spawn(self._warm(environment))

    async def close(self) -> None:
        """Stop every container, then every zygote; returns when all processes are gone."""
        self._closed = True
        for container in self._containers:
            container.stop(self._stop_grace)
        while self._tasks:
            await asyncio.wait(self._tasks)
        for timer in self._idle.values():
            timer.cancel()
        self._idle.clear()
        await asyncio.gather(*(zygote.close() for zygote in list(self._zygotes.values())))
        await asyncio.to_thread(self._ledger.close)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run(self, container: ProcessContainer, environment: ImageEnvironment) -> None:
        self._occupy(environment)
        try:
            await container.run(lambda: self._booted(environment))
        finally:
            self._containers.discard(container)
            self._leave(environment)

    async def _warm(self, environment: ImageEnvironment) -> None:
        self._occupy(environment)
        try:
            await self._booted(environment)
        except (OSError, SandboxError):
            return  # whoever starts a container of the image next is told
        finally:
            self._leave(environment)

    async def _booted(self, environment: ImageEnvironment) -> Zygote:
        if self._closed:
            raise SandboxError("the server is shutting down")
        zygote = self._zygotes.get(environment)
        if zygote is None or not zygote.alive:
            zygote = Zygote(environment, self._ledger, self._buried)
            self._zygotes[environment] = zygote
        await zygote.booted()
        return zygote

    def _occupy(self, environment: ImageEnvironment) -> None:
        self._users[environment] = self._users.get(environment, 0) + 1
        timer = self._idle.pop(environment, None)
        if timer is not None:
            timer.cancel()

    def _leave(self, environment: ImageEnvironment) -> None:
        self._users[environment] -= 1
        if self._users[environment]:
            return
        del self._users[environment]
        if not self._closed:
            loop = asyncio.get_running_loop()
            self._idle[environment] = loop.call_later(self._zygote_idle, self._retire, environment)

    def _retire(self, environment: ImageEnvironment) -> None:
        self._idle.pop(environment, None)
        zygote = self._zygotes.get(environment)
        if zygote is not None:
            self._spawn(zygote.close())

    def _buried(self, zygote: Zygote) -> None:
        for environment, current in list(self._zygotes.items()):
            if current is zygote:
                del self._zygotes[environment]
