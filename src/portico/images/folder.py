"""A folder that is built once: by one builder at a time, valid only when its marker says so."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import secrets
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from portico.images.log import BuildLog

FIRST_POLL = 0.02
LONGEST_POLL = 0.5


@dataclass(frozen=True)
class BuildFolder:
    """``content/`` holds what is built; ``built`` marks it valid, ``lock`` its builder, ``build.log`` keeps the log.

    `needs` are paths under ``content/`` without which the content is worthless, whatever the marker says (an
    environment's interpreter is a link to one of the machine, which may have been removed).
    """

    path: Path
    needs: tuple[str, ...]

    @property
    def content(self) -> Path:
        """What the build makes."""
        return self.path / "content"

    @property
    def log_file(self) -> Path:
        """The log of the last build, also of a failed one."""
        return self.path / "build.log"

    @property
    def _marker(self) -> Path:
        return self.path / "built"

    def valid(self) -> bool:
        """Whether the content is whole. A few look-ups, no more."""
        return self._marker.exists() and all((self.content / name).exists() for name in self.needs)

    async def build_once(self, log: BuildLog, make: Callable[[int], Awaitable[None]]) -> None:
        """Fill ``content/`` with `make`, unless it is valid, here or in whichever process shares the folder.

        `make` is given the descriptor of the lock, for processes that must be gone before the lock is free.
        Leftovers of a killed builder are removed first, those of a failed one at once. Raises OSError.
        """
        for folder in (self.path.parent, self.path):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        async with self._locked(log) as lock:
            if self.valid():
                self._repeat_log(log)
                return
            await self._discard()
            try:
                with log.kept_in(self.log_file):
                    await make(lock)
                self._seal()
            except Exception:
                await self._discard()
                raise

    @contextlib.asynccontextmanager
    async def _locked(self, log: BuildLog) -> AsyncIterator[int]:
        """Hold the lock. It is free when every process that was given it has ended, so also after a SIGKILL."""
        lock = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            delay = FIRST_POLL
            while not _try_lock(lock):
                if delay == FIRST_POLL:
                    log.add("Waiting for another build of the same environment to end.")
                await asyncio.sleep(delay)
                delay = min(2 * delay, LONGEST_POLL)
            yield lock
        finally:
            os.close(lock)

    def _repeat_log(self, log: BuildLog) -> None:
        with contextlib.suppress(FileNotFoundError):
            for line in self.log_file.read_text("utf-8", "replace").splitlines():
                log.add(line)

    async def _discard(self) -> None:
        """Remove the content. A rename first: what is still being deleted is in no later builder's way."""
        self._marker.unlink(missing_ok=True)
        if self.content.exists():
            self.content.rename(self.path / f"discarded-{secrets.token_hex(4)}")
        for discarded in self.path.glob("discarded-*"):
            await asyncio.to_thread(shutil.rmtree, discarded, ignore_errors=True)

    def _seal(self) -> None:
        unfinished = self.path / "built.new"
        with unfinished.open("wb") as file:
            file.flush()
            os.fsync(file.fileno())
        unfinished.rename(self._marker)
        folder = os.open(self.path, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
