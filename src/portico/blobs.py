"""Local files on their way to the server: read when a manifest is made, named by their content."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from portico.exception import InvalidError
from portico.file_pattern_matcher import Ignore, as_filter
from portico.wire.image import FileEntry

CHUNK = 1 << 20  # bytes


class BlobSet:
    """The files one manifest refers to: SHA-256 → where the content is."""

    def __init__(self) -> None:
        self.sources: dict[str, Path | bytes] = {}

    def add_file(self, local: Path, remote: str) -> FileEntry:
        """The entry for `local`, to land at `remote`. Raises `InvalidError` where it cannot be read."""
        digest = hashlib.sha256()
        size = 0
        try:
            with local.open("rb") as file:
                mode = os.fstat(file.fileno()).st_mode
                while chunk := file.read(CHUNK):
                    digest.update(chunk)
                    size += len(chunk)
        except OSError as error:
            raise InvalidError(f"cannot read {local}: {error.strerror}") from error
        sha256 = digest.hexdigest()
        self.sources[sha256] = local.absolute()
        return FileEntry(path=remote, sha256=sha256, size=size, executable=bool(mode & 0o100))

    def add_folder(self, local: Path, remote: str, ignore: Ignore) -> list[FileEntry]:
        """Entries for every file below `local` that `ignore` does not match, in order of their paths."""
        if not local.is_dir():
            raise InvalidError(
                f"there is no folder {local} (paths are relative to {Path.cwd()}); create it or correct the path"
            )
        return [
            self.add_file(local / relative, str(PurePosixPath(remote) / relative.as_posix()))
            for relative in sorted(walk(local, ignore))
        ]


def walk(folder: Path, ignore: Ignore) -> Iterator[Path]:
    """Files below `folder` that `ignore` does not match, as relative paths; links to files are followed."""
    ignored = as_filter(ignore)
    # A callable or a "!" pattern may keep a file of an ignored folder: then every folder has to be walked.
    prunes = not callable(ignore) and not any(p.lstrip().startswith("!") for p in ignore)
    for parent, folders, files in os.walk(folder):
        relative = Path(parent).relative_to(folder)
        folders[:] = [f for f in folders if not (prunes and ignored(relative / f))]
        for name in files:
            if not ignored(relative / name) and (folder / relative / name).is_file():
                yield relative / name
