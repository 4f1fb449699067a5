"""Content-addressed files: each under its SHA-256, written once, never changed."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import hashlib
import os
import re
import time
from collections.abc import AsyncIterable, Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from portico.control.errors import InvalidRequestError, StoreError, TooLargeError

DIGEST = re.compile(r"[0-9a-f]{64}")
MAX_BLOB = 4 << 30  # bytes
ABANDONED = 24 * 3600.0  # seconds without a write after which an upload is dead
WRITE_SIZE = 1 << 20  # bytes gathered before a thread writes them


def check_digest(digest: str) -> str:
    """`digest`, if it is a SHA-256 in lower-case hex; so it can be part of a path. Raises `InvalidRequestError`."""
    if DIGEST.fullmatch(digest) is None:
        raise InvalidRequestError(f"{digest!r} is not a SHA-256 digest: 64 lower-case hex digits")
    return digest


class Blobs:
    """The blob folder. `limit` is the most bytes one blob may have."""

    def __init__(self, folder: Path, *, limit: int = MAX_BLOB) -> None:
        self._folder = folder
        self._drafts = folder / "drafts"
        self._limit = limit

    def prepare(self) -> None:
        """Make the folders, and remove what uploads of a killed server left behind."""
        for folder in (self._folder, self._drafts):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        horizon = time.time() - ABANDONED
        for draft in self._drafts.iterdir():
            with contextlib.suppress(FileNotFoundError):
                if draft.stat().st_mtime < horizon:
                    draft.unlink()

    def path(self, digest: str) -> Path:
        """Where the blob is, or would be. Raises `InvalidRequestError` for what is no digest."""
        return self._folder / check_digest(digest)[:2] / digest

    def missing(self, digests: Iterable[str]) -> list[str]:
        """Those of `digests` that are not here, in their order, each once."""
        return [d for d in dict.fromkeys(digests) if not self.path(d).is_file()]

    async def put(self, digest: str, chunks: AsyncIterable[bytes], declared: int = 0) -> int:
        """Keep the bytes of `chunks`, of which there are `declared` if that is known, under `digest`; their number.

        The blob appears whole or not at all. Raises `InvalidRequestError` where the content has another
        digest, `TooLargeError`, and `StoreError` when the disk is full.
        """
        target = self.path(digest)
        self._bound(declared)
        with self._draft() as (draft, file):
            size = await self._receive(digest, chunks, file)
            await asyncio.to_thread(_publish, file, draft, target)
        return size

    async def _receive(self, digest: str, chunks: AsyncIterable[bytes], file: BinaryIO) -> int:
        hasher = hashlib.sha256()
        size = 0
        pending = bytearray()
        async for chunk in chunks:
            size += len(chunk)
            self._bound(size)
            pending += chunk
            if len(pending) >= WRITE_SIZE:
                await asyncio.to_thread(_write, file, hasher, bytes(pending))
                pending.clear()
        await asyncio.to_thread(_write, file, hasher, bytes(pending))
        if hasher.hexdigest() != digest:
            raise InvalidRequestError(
                f"the content received has the SHA-256 {hasher.hexdigest()}, not {digest}: send it again"
            )
        return size

    def _bound(self, size: int) -> None:
        if size > self._limit:
            raise TooLargeError(f"a file may have at most {self._limit} bytes")

    @contextlib.contextmanager
    def _draft(self) -> Iterator[tuple[Path, BinaryIO]]:
        draft = self._drafts / f"{os.getpid()}-{os.urandom(8).hex()}"
        try:
            with draft.open("xb") as file:
                yield draft, file
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            raise StoreError(
                f"the disk that holds {self._folder} is full: free some space and try again"
            ) from error
        finally:
            draft.unlink(missing_ok=True)


def _write(file: BinaryIO, hasher: hashlib._Hash, data: bytes) -> None:
    hasher.update(data)
    file.write(data)


def _publish(file: BinaryIO, draft: Path, target: Path) -> None:
    # On disk before it has its name: after a power cut a name must not stand for half a file.
    file.flush()
    os.fsync(file.fileno())
    target.parent.mkdir(mode=0o700, exist_ok=True)
    draft.replace(target)
