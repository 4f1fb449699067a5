"""One build for everyone who asks for the same thing at the same time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from portico.images.base import BuildError, BuildLogSink
from portico.images.log import BuildLog
from portico.wire.image import ImageEnvironment

Make = Callable[[BuildLog], Awaitable[ImageEnvironment]]


@dataclass(frozen=True)
class _Build:
    log: BuildLog
    task: asyncio.Task[ImageEnvironment]


class SharedBuilds:
    """Builds under way by key. A waiter that is cancelled leaves the build to the others, or to finish for the cache."""

    def __init__(self) -> None:
        self._under_way: dict[str, _Build] = {}
        self._closed = False

    async def join(self, key: str, make: Make, sink: BuildLogSink) -> ImageEnvironment:
        """The outcome of the build of `key`, begun with `make` where none is under way."""
        build = self._under_way.get(key) or self._begin(key, make)
        await build.log.follow(sink)
        await asyncio.wait([build.task])
        if build.task.cancelled():
            raise BuildError(
                "The build was ended because the server stops. Deploy again when it runs.",
                build.log.tail(),
            )
        return build.task.result()

    async def close(self) -> None:
        """Cancel every build and wait until each has ended its processes. Later builds are refused."""
        self._closed = True
        tasks = [build.task for build in self._under_way.values()]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    def _begin(self, key: str, make: Make) -> _Build:
        if self._closed:
            raise BuildError("The server stops and builds no more images.")
        log = BuildLog()
        build = _Build(log, asyncio.create_task(self._run(make, log), name=f"build {key}"))
        self._under_way[key] = build
        build.task.add_done_callback(lambda task: self._ended(key, build))
        return build

    async def _run(self, make: Make, log: BuildLog) -> ImageEnvironment:
        return await make(log)

    def _ended(self, key: str, build: _Build) -> None:
        del self._under_way[key]
        build.log.close()
        if not build.task.cancelled():
            # Retrieved here for a build whose waiters have all gone; the log file next to it tells the story.
            build.task.exception()
