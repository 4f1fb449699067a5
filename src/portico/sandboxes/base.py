"""The seam between engines and the ways of confining a container: how it runs is a sandbox's business."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from portico.wire.container import Call, ContainerExit, ContainerSpec, FromContainer, LogLine
from portico.wire.image import ImageEnvironment

LogSink = Callable[[LogLine], None]


class SandboxListener(Protocol):
    """Told what a sandboxed container says. All calls come on the event loop; `exited` is the last, exactly once."""

    def message(self, message: FromContainer) -> None:
        """A frame came over the control socket."""

    def exited(self, exit: ContainerExit) -> None:
        """Every process of the container is gone and its folder is removed."""


class Sandboxed(Protocol):
    """One running container. No method blocks or raises for a container that is already gone."""

    @property
    def pid(self) -> int | None:
        """Process id of its leader, once known."""

    def cancel(self, inputs: Sequence[int]) -> None:
        """The clients of these inputs are gone; `Ended` follows for each, also for ones it never saw."""

    def probe(self, inputs: Sequence[int]) -> None:
        """Are these still running? `Ended` follows for those the container does not know."""

    def call(self, call: Call) -> None:
        """Run a function call; `CallResult` and `Ended` follow."""

    def stop(self, grace: float) -> None:
        """SIGTERM to the leader now, SIGKILL to the whole group after `grace` seconds. Idempotent."""


class Sandbox(Protocol):
    """A way of running containers on this machine."""

    name: str

    def start(self, spec: ContainerSpec, listener: SandboxListener) -> Sandboxed:
        """Begin to start a container and return at once."""

    def warm(self, environment: ImageEnvironment) -> None:
        """Prepare an image (the process sandbox boots its zygote). Returns at once."""

    async def shares_network(self) -> bool:
        """Whether containers share one network, so that only one of them at a time can listen on a port."""

    async def close(self) -> None:
        """End every container and helper process, waiting until all are gone."""
