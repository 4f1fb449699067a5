"""The seam between pools and whatever runs containers: where a container lives is an engine's business."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from portico.wire.container import Call, CallResult, ContainerExit, ContainerSpec, Ready
from portico.wire.image import ImageEnvironment


class ContainerListener(Protocol):
    """Told what happens to one container. All calls come on the event loop; `exited` is the last, exactly once."""

    def ready(self, ready: Ready) -> None:
        """The container takes inputs."""

    def ended(self, inputs: Sequence[int]) -> None:
        """These inputs' handlers have finished."""

    def called(self, result: CallResult) -> None:
        """A function call has its outcome (its `ended` comes separately)."""

    def exited(self, exit: ContainerExit) -> None:
        """The container and every process of it are gone, or it never started."""


class Container(Protocol):
    """A started container. No method blocks or raises for a container that is already gone."""

    @property
    def pid(self) -> int | None:
        """Process id of the container's leader on its node, once known."""

    def cancel(self, inputs: Sequence[int]) -> None:
        """The clients of these inputs are gone; `ended` follows for each, also for ones it never saw."""

    def probe(self, inputs: Sequence[int]) -> None:
        """Are these still running? `ended` follows for those the container does not know."""

    def call(self, call: Call) -> None:
        """Run a function call; `called` and `ended` follow."""

    def close_sockets(self, code: int) -> None:
        """Ask the application side to close its WebSockets with `code`."""

    def stop(self, grace: float) -> None:
        """SIGTERM now (lifespan shutdown, exit hooks), SIGKILL to the whole group after `grace` seconds."""


class Engine(Protocol):
    """Starts containers somewhere."""

    def start(self, spec: ContainerSpec, listener: ContainerListener) -> Container:
        """Begin to start a container and return at once; the outcome comes by `listener`."""

    def warm(self, environment: ImageEnvironment) -> None:
        """Prepare to start containers of an image quickly. Best effort, returns at once."""

    async def close(self) -> None:
        """End every container, waiting for all of them to be gone."""
