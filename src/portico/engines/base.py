"""The seam between pools and whatever runs containers: where a container lives is an engine's business."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from portico.sandboxes.base import Sandboxed
from portico.wire.container import CallResult, ContainerExit, ContainerSpec, Ready
from portico.wire.image import ImageEnvironment
from portico.wire.manifest import FunctionSpec


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


class Container(Sandboxed, Protocol):
    """A started container, wherever it runs; what can be asked of it is what its sandbox can do."""


class Engine(Protocol):
    """Starts containers somewhere."""

    def start(self, spec: ContainerSpec, listener: ContainerListener) -> Container:
        """Begin to start a container and return at once; the outcome comes by `listener`."""

    def warm(self, environment: ImageEnvironment) -> None:
        """Prepare to start containers of an image quickly. Best effort, returns at once."""

    async def only_one(self, function: FunctionSpec) -> bool:
        """Whether only one container of `function` can exist at a time, for the sake of a port that it listens on."""

    async def close(self) -> None:
        """End every container, waiting for all of them to be gone."""
