"""The local engine: containers on this machine, in one sandbox."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from portico.engines.base import ContainerListener
from portico.sandboxes.base import Sandbox, Sandboxed
from portico.wire.container import (
    Call,
    CallResult,
    ContainerExit,
    ContainerSpec,
    Ended,
    Failed,
    FromContainer,
    Ready,
)
from portico.wire.image import ImageEnvironment
from portico.wire.manifest import FunctionSpec


class LocalEngine:
    """Starts containers in `sandbox` and enforces their startup timeouts."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox

    def start(self, spec: ContainerSpec, listener: ContainerListener) -> LocalContainer:
        """Begin to start a container and return at once."""
        container = LocalContainer(spec, listener)
        container.attach(self._sandbox.start(spec, container))
        return container

    def warm(self, environment: ImageEnvironment) -> None:
        """Prepare to start containers of an image quickly."""
        self._sandbox.warm(environment)

    async def only_one(self, function: FunctionSpec) -> bool:
        """Whether its containers would take each other's port."""
        return bool(function.ports) and await self._sandbox.shares_network()

    async def close(self) -> None:
        """End every container, waiting for all of them to be gone."""
        await self._sandbox.close()


class LocalContainer:
    """Translates between one sandboxed container and its `ContainerListener`."""

    def __init__(self, spec: ContainerSpec, listener: ContainerListener) -> None:
        self._spec = spec
        self._listener = listener
        self._sandboxed: Sandboxed | None = None
        self._failure: Failed | None = None
        self._ready = False
        self._deadline = asyncio.get_running_loop().call_later(
            spec.function.startup_timeout, self._timed_out
        )

    def attach(self, sandboxed: Sandboxed) -> None:
        """The sandbox's handle of this container."""
        self._sandboxed = sandboxed

    @property
    def pid(self) -> int | None:
        """Process id of the container's leader, once known."""
        return self._sandboxed.pid if self._sandboxed is not None else None

    def cancel(self, inputs: Sequence[int]) -> None:
        """The clients of these inputs are gone."""
        if self._sandboxed is not None:
            self._sandboxed.cancel(inputs)

    def probe(self, inputs: Sequence[int]) -> None:
        """Are these still running?"""
        if self._sandboxed is not None:
            self._sandboxed.probe(inputs)

    def call(self, call: Call) -> None:
        """Run a function call."""
        if self._sandboxed is not None:
            self._sandboxed.call(call)

    def stop(self, grace: float) -> None:
        """SIGTERM now, SIGKILL to the whole group after `grace` seconds."""
        if self._sandboxed is not None:
            self._sandboxed.stop(grace)

    # ---- the sandbox's listener

    def message(self, message: FromContainer) -> None:
        """A frame came over the control socket."""
        if isinstance(message, Ended):
            self._listener.ended(message.inputs)
        elif isinstance(message, CallResult):
            self._listener.called(message)
        elif isinstance(message, Ready):
            self._became_ready(message)
        else:
            self._failure = self._failure or message

    def exited(self, exit: ContainerExit) -> None:
        """Nothing of the container is left."""
        self._deadline.cancel()
        failure = exit.failure or self._failure
        self._listener.exited(ContainerExit(status=exit.status, failure=failure))

    def _became_ready(self, ready: Ready) -> None:
        if self._ready or self._failure is not None:
            return
        self._ready = True
        self._deadline.cancel()
        self._listener.ready(ready)

    def _timed_out(self) -> None:
        limit = self._spec.function.startup_timeout
        self._failure = Failed(
            phase="boot",
            message=f"not ready within {limit:g} seconds; raise startup_timeout if it needs longer",
        )
        self.stop(0)
