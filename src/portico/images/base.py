"""The seam between deploys and image builds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from portico.wire.image import ImageEnvironment, ImageSpec

BuildLogSink = Callable[[str], None]
"""Told each line of a build's output, without its line end."""


class BuildError(Exception):
    """An image could not be built. `log` is the end of the build's output, at most 40 lines."""

    def __init__(self, message: str, log: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.log = log


class ImageBuilder(Protocol):
    """Turns recipes into environments, each once."""

    def cached(self, spec: ImageSpec) -> ImageEnvironment | None:
        """The environment of an earlier build of the same recipe, without starting one."""

    async def build(self, spec: ImageSpec, log: BuildLogSink) -> ImageEnvironment:
        """Build `spec`, or wait for the build of it that is under way, or return the cached one.

        Every waiter's `log` gets the whole log from its beginning. Raises `BuildError`.
        """

    async def close(self) -> None:
        """End builds under way and every process of theirs."""
