"""Live reload: a change of the app's files becomes its next version, or a traceback."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import NoReturn

from rich.console import Console

from portico.cli.errors import report
from portico.cli.loading import LoaderProcess, LoadError, blobs_of
from portico.cli.messages import Loaded
from portico.cli.progress import Progress
from portico.cli.watch import Watcher
from portico.client import AsyncRunningApp

PATIENCE = 1.0  # seconds a reload may go on when the next change is there


class LiveReload:
    """Follows the files of one app. Whatever fails, the last good version goes on serving."""

    def __init__(
        self, target: str, loader: LoaderProcess, app: AsyncRunningApp, console: Console
    ) -> None:
        self._target = target
        self._loader = loader
        self._app = app
        self._console = console

    async def follow(self, loaded: Loaded) -> NoReturn:
        """Reload at every change, until cancelled."""
        await self._loader.preload(loaded.frameworks)
        watcher = Watcher(_watched(loaded))
        current: asyncio.Task[None] | None = None
        try:
            async for changed in watcher.changes():
                if current is not None:
                    # What is being deployed is already old. It may finish, but it may also never end.
                    await asyncio.wait({current}, timeout=PATIENCE)
                    await _cancelled(current)
                current = asyncio.create_task(self._reload(watcher, changed))
            raise AssertionError("a watcher does not end")
        finally:
            if current is not None:
                await _cancelled(current)

    async def _reload(self, watcher: Watcher, changed: set[Path]) -> None:
        began = time.monotonic()
        names = ", ".join(sorted(path.name for path in changed))
        try:
            with Progress(self._console, f"Reloading ({names})") as progress:
                loaded = await self._loader.load(self._target)
                watcher.watch(_watched(loaded))
                await self._app.update(loaded.manifest, blobs_of(loaded), progress.deploy_event)
        except LoadError as error:
            watcher.note(map(Path, error.failure.files))
            self._failed(error.for_user())
        except Exception as error:  # nothing that goes wrong here may end what serves
            self._failed(error)
        else:
            took = time.monotonic() - began
            self._console.print(f"Reloaded in {took:.2f} s ({names})", style="green")

    def _failed(self, error: Exception) -> None:
        report(error)
        self._console.print("The last good version goes on serving.", style="yellow")


async def _cancelled(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def _watched(loaded: Loaded) -> dict[Path, str | None]:
    return {Path(path): digest for path, digest in loaded.watched.items()}
