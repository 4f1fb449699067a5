"""The folder a version's containers run in: its files, assembled once per content."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import time
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

import msgspec

from portico.control.blobs import Blobs
from portico.control.errors import DeployError, InvalidRequestError
from portico.wire.image import FileEntry
from portico.wire.manifest import AppManifest

ROOT = PurePosixPath("/root")
MAX_FILES = 100_000
MAX_PATH = 2048  # bytes
MAX_PART = 255  # bytes between two slashes: what file systems take
LINK_FROM = 1 << 20  # bytes; smaller files are copied, so that a stray write cannot reach the blob
KEEP_UNUSED = 24 * 3600.0  # seconds; containers of a replaced version may drain for hours


def place(path: str) -> str:
    """`path` relative to the source root. Raises `InvalidRequestError` where it would lie outside."""
    pure = PurePosixPath(path)
    if pure.is_absolute():
        if not pure.is_relative_to(ROOT):
            raise InvalidRequestError(
                f"file {path!r} cannot be placed outside the working folder: "
                "give it a relative path, or one below /root"
            )
        pure = pure.relative_to(ROOT)
    if not pure.parts or ".." in pure.parts or "\0" in path:
        raise InvalidRequestError(f"file {path!r} has no place below the working folder")
    if len(path.encode()) > MAX_PATH or max(len(p.encode()) for p in pure.parts) > MAX_PART:
        raise InvalidRequestError(
            f"file {path[:100] + '…'!r} has too long a name: {MAX_PATH} bytes, and {MAX_PART} between "
            "two slashes, are the most"
        )
    return str(pure)


def inventory(manifest: AppManifest) -> dict[str, FileEntry]:
    """Every file of a version by its place; what an image adds goes over the app's own sources.

    Raises `InvalidRequestError` for a path outside the root, a file that is also a folder, and for images
    that want different contents at one place.
    """
    if len(manifest.files) > MAX_FILES:
        raise InvalidRequestError(f"a version may have at most {MAX_FILES:,} files of its own")
    placed: dict[str, FileEntry] = {}
    for entry in manifest.files:
        where = place(entry.path)
        if placed.setdefault(where, entry) != entry:
            raise InvalidRequestError(f"the app has two different files at {where!r}")
    added: dict[str, FileEntry] = {}
    for image in manifest.images.values():
        for entry in image.files:
            where = place(entry.path)
            other = added.setdefault(where, entry)
            if other.sha256 != entry.sha256:
                raise InvalidRequestError(
                    f"two images of the app add different files at {where!r}: give one another path"
                )
    placed |= added
    for where in placed:
        for parent in PurePosixPath(where).parents:
            if str(parent) in placed:
                raise InvalidRequestError(f"{str(parent)!r} is a file and the folder of {where!r}")
    return placed


def tree_digest(files: dict[str, FileEntry]) -> str:
    """SHA-256 (hex) of places, contents and executable bits."""
    lines = sorted((where, entry.sha256, entry.executable) for where, entry in files.items())
    return hashlib.sha256(msgspec.json.encode(lines)).hexdigest()


class Tree:
    """An assembled folder in use: until `release` no process prunes it."""

    def __init__(self, path: Path, lock: int) -> None:
        self.path = path
        self._lock: int | None = lock

    def release(self) -> None:
        """The folder is no longer needed by this process. Idempotent."""
        if self._lock is None:
            return
        os.utime(self._lock)
        os.close(self._lock)
        self._lock = None


class Sources:
    """The folder of assembled trees, shared by every server of one state folder.

    Methods block on the disk: call them from a thread.
    """

    def __init__(self, folder: Path, blobs: Blobs) -> None:
        self._folder = folder
        self._blobs = blobs

    def prepare(self) -> None:
        """Make the folder."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def assemble(self, manifest: AppManifest) -> Tree:
        """The tree of `manifest`, built if it is not there yet; then old ones are pruned.

        Raises `InvalidRequestError` for bad paths and `DeployError` for a blob that is not here.
        """
        files = inventory(manifest)
        path = self._folder / tree_digest(files)
        while True:
            lock = _lock_shared(path)
            if lock is not None:
                return Tree(path, lock)
            self._build(files, path)
            self.prune()

    def prune(self, *, now: float | None = None) -> list[Path]:
        """Remove, and return, trees that no process uses and none has used for a day."""
        horizon = (time.time() if now is None else now) - KEEP_UNUSED
        return [path for path in list(self._folder.iterdir()) if _remove_unused(path, horizon)]

    def _build(self, files: dict[str, FileEntry], path: Path) -> None:
        draft = path.with_name(f".draft-{os.getpid()}-{os.urandom(6).hex()}")
        draft.mkdir(mode=0o700)
        try:
            for where, entry in files.items():
                self._add(draft / where, entry)
            draft.rename(path)
        except OSError:
            # Another deploy of the same files may have been first; its tree is as good.
            if not path.is_dir():
                raise
        finally:
            shutil.rmtree(draft, ignore_errors=True)

    def _add(self, target: Path, entry: FileEntry) -> None:
        blob = self._blobs.path(entry.sha256)
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not blob.is_file() or blob.stat().st_size != entry.size:
            raise DeployError(f"the content of {entry.path!r} is not on the server: deploy again")
        if entry.size >= LINK_FROM and not entry.executable and _link(blob, target):
            return
        try:
            # Never through a name that is there: it may be a link to another blob.
            with blob.open("rb") as content, target.open("xb") as copy:
                shutil.copyfileobj(content, copy)
        except FileExistsError:
            raise DeployError(
                f"{entry.path!r} and another file have the same name on this server's disk, which does not "
                "tell upper from lower case: rename one"
            ) from None
        target.chmod(0o700 if entry.executable else 0o600)


def _link(blob: Path, target: Path) -> bool:
    try:
        os.link(blob, target)
    except OSError:
        return False
    return True


def _lock_shared(path: Path) -> int | None:
    """A descriptor of the folder that holds a shared lock, or None where the folder is not there."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    except FileNotFoundError:
        return None
    fcntl.flock(descriptor, fcntl.LOCK_SH)
    if _is_at(descriptor, path):
        return descriptor
    os.close(descriptor)
    return None


def _remove_unused(path: Path, horizon: float) -> bool:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    except FileNotFoundError:
        return False
    try:
        if os.fstat(descriptor).st_mtime > horizon:
            return False
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if not _is_at(descriptor, path):
            return False
        # Out of the way in one step, so that nobody takes a half-removed tree for a whole one.
        trash = path.with_name(f".trash-{os.urandom(6).hex()}")
        path.rename(trash)
        shutil.rmtree(trash, ignore_errors=True)
    except BlockingIOError:
        return False
    finally:
        os.close(descriptor)
    return True


def _is_at(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def blobs_needed(manifest: AppManifest) -> Iterable[str]:
    """Digests of everything a version needs: sources, files of images, and their build contexts."""
    yield from (entry.sha256 for entry in manifest.files)
    for image in manifest.images.values():
        yield from (entry.sha256 for entry in image.files)
        contexts = [image.base, *image.steps]
        for part in contexts:
            yield from (entry.sha256 for entry in getattr(part, "context", ()))
