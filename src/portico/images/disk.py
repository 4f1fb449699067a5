"""Saying which disk is full."""

from __future__ import annotations

import errno
import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path

_FULL = re.compile(r"No space left on device|Disk quota exceeded|\(os error (28|122)\)")


def is_full(error: OSError) -> bool:
    """Whether the system said that a disk, or the user's share of it, is full."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT)


def says_full(lines: Iterable[str]) -> bool:
    """Whether a command's output says so."""
    return any(_FULL.search(line) for line in lines)


def uv_folders(environ: Mapping[str, str]) -> tuple[Path, Path]:
    """Where uv writes besides its target: its cache and the folder for temporary files."""
    cache = environ.get("UV_CACHE_DIR") or Path(
        environ.get("XDG_CACHE_HOME") or Path(environ.get("HOME", "/"), ".cache"), "uv"
    )
    return Path(cache), Path(environ.get("TMPDIR") or tempfile.gettempdir())


def explain_full(*folders: Path) -> str:
    """Which of the disks that hold `folders` is full, how much it holds, and what to do."""
    fullest = min(map(_existing, folders), key=lambda p: shutil.disk_usage(p).free)
    usage = shutil.disk_usage(fullest)
    return (
        f"the disk mounted at {_mount_point(fullest)} is full ({_mib(usage.free)} of {_mib(usage.total)}"
        f" MiB free): make room there and deploy again"
    )


def _existing(path: Path) -> Path:
    path = path.absolute()
    return path if path.exists() else _existing(path.parent)


def _mount_point(path: Path) -> Path:
    path = path.resolve()
    while not os.path.ismount(path):
        path = path.parent
    return path


def _mib(count: int) -> int:
    return count // 2**20
