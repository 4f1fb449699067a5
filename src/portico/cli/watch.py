"""Watching the files of an app: a change is a change of content, however the editor saves."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Mapping
from contextlib import aclosing
from pathlib import Path

DEBOUNCE = 50  # milliseconds in which further events join the first
STEP = 25  # milliseconds of silence that end a burst of events
QUIET = 400  # milliseconds without an event after which the files are looked at anyway
GONE = 0.5  # seconds a file may be missing: editors delete and write again

Digests = Mapping[Path, str | None]


class Watcher:
    """Knows the content of a set of files and reports when it differs.

    File-system events only say when to look. Now and then the files are looked at without one: on network
    file systems, where a whole folder was replaced, or just before a watch begins, no event comes.
    """

    def __init__(self, files: Digests) -> None:
        self._known = dict(files)
        self._seen: dict[Path, tuple[int, ...]] = {}
        self._moved = asyncio.Event()

    def watch(self, files: Digests) -> None:
        """Watch `files` from now on; each with the content it is known by (None: it did not exist)."""
        if files.keys() != self._known.keys():
            self._moved.set()
        self._known = dict(files)
        self._seen = {}

    def note(self, files: Iterable[Path]) -> None:
        """Watch `files` as well, from the content they have now."""
        new = {path: content_digest(path) for path in files if path not in self._known}
        self.watch({**self._known, **new})

    async def changes(self) -> AsyncIterator[set[Path]]:
        """The files whose content changed, each change once."""
        while True:
            self._moved.clear()
            async with aclosing(self._events()) as events:
                async for _ in events:
                    if changed := await self._look():
                        yield changed

    async def _look(self) -> set[Path]:
        known = self._known
        changed = await asyncio.to_thread(self._differing, known, self._seen)
        missing = {path for path, digest in changed.items() if digest is None}
        if missing:
            await asyncio.sleep(GONE)
            changed |= {path: content_digest(path) for path in missing}
        if known is not self._known:
            return set()  # other files, or other contents, are watched by now: look again
        changed = {path: now for path, now in changed.items() if now != known[path]}
        known.update(changed)
        return set(changed)

    @staticmethod
    def _differing(
        known_digests: Digests, seen: dict[Path, tuple[int, ...]]
    ) -> dict[Path, str | None]:
        differing: dict[Path, str | None] = {}
        for path, known in list(known_digests.items()):
            mark = _mark(path)
            if seen.get(path) == mark:
                continue
            digest = content_digest(path)
            if digest == known:
                seen[path] = mark
            else:
                differing[path] = digest
        return differing

    async def _events(self) -> AsyncGenerator[None, None]:
        from watchfiles import awatch

        names = {str(path) for path in self._known} | {
            os.path.realpath(path) for path in self._known
        }
        # Folders, not files: a watch on a file follows its inode, which a save by renaming replaces.
        folders = {_existing_folder(Path(name)) for name in names}
        if not folders:
            await self._moved.wait()
            return
        events = awatch(
            *folders,
            watch_filter=lambda change, path: path in names or path in folders,
            debounce=DEBOUNCE,
            step=STEP,
            rust_timeout=QUIET,
            yield_on_timeout=True,
            stop_event=self._moved,
            recursive=False,
        )
        async with aclosing(events):
            try:
                async for _ in events:
                    yield
                    if not all(map(os.path.isdir, folders)):
                        return  # a watch ends with its folder; the next one finds what stands there
            except OSError:
                # A folder went just before it was to be watched, or the system has no watch left to
                # give. Looking without events is slower and works as well.
                await asyncio.sleep(GONE)
                yield


def content_digest(path: Path) -> str | None:
    """SHA-256 (hex) of the file's content, or None where there is no readable file."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return None


def _mark(path: Path) -> tuple[int, ...]:
    try:
        stat = path.stat()
    except OSError:
        return ()
    return (stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)


def _existing_folder(path: Path) -> str:
    folder = path.parent
    while not folder.is_dir():
        folder = folder.parent
    return str(folder)
