"""Finding and ending processes that outlived whoever was to end them.

Three marks tell a stray: the cookie in its environment, its working folder inside a container's, and its
membership in the session of a container's leader. On systems without /proc only the recorded process groups
are known.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from portico.sandboxes.environment import COOKIE

PROC = Path("/proc")
PATIENCE = 10.0  # seconds for killed processes to be gone
POLL = 0.01  # seconds


@dataclass(frozen=True)
class Marks:
    """What strays of one zygote are recognised by. `leaders` are ids of sessions that are certainly its own."""

    cookie: str
    leaders: frozenset[int] = frozenset()
    folders: tuple[str, ...] = ()


def start_time(pid: int) -> str | None:
    """When `pid` started, comparable for equality, across reboots too; None where there is no such process."""
    if not PROC.is_dir():
        told = subprocess.run(
            ["ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True, check=False
        )
        return told.stdout.strip() or None
    fields = _stat(pid)
    if fields is None or fields[0] in ("Z", "X"):
        return None
    boot = (PROC / "sys/kernel/random/boot_id").read_text().strip()
    return f"{fields[19]}@{boot}"


def end_strays(marks: Iterable[Marks]) -> None:
    """SIGKILL everything that bears one of `marks`, until nothing does. Blocks for up to `PATIENCE`."""
    marks = tuple(marks)
    deadline = time.monotonic() + PATIENCE
    while strays := set(find(marks)):
        for pid in strays:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        if time.monotonic() > deadline:
            return
        time.sleep(POLL)


def find(marks: tuple[Marks, ...]) -> Iterator[int]:
    """Process ids that bear one of `marks`; zombies are dead already and not among them."""
    if not PROC.is_dir():
        yield from (leader for mark in marks for leader in mark.leaders if _group_lives(leader))
        return
    for entry in os.listdir(PROC):
        if entry.isdigit() and int(entry) != os.getpid() and _bears(int(entry), marks):
            yield int(entry)


def _bears(pid: int, marks: tuple[Marks, ...]) -> bool:
    fields = _stat(pid)
    if fields is None or fields[0] in ("Z", "X"):
        return False
    session = int(fields[3])
    if any(session in mark.leaders for mark in marks):
        return True
    try:
        variables = (PROC / str(pid) / "environ").read_bytes().split(b"\0")
        folder = os.readlink(PROC / str(pid) / "cwd").removesuffix(" (deleted)")
    except OSError:  # ended meanwhile, or another user's
        return False
    return any(
        f"{COOKIE}={mark.cookie}".encode() in variables
        or any(folder == own or folder.startswith(own + os.sep) for own in mark.folders)
        for mark in marks
    )


def _stat(pid: int) -> list[str] | None:
    """The fields of /proc/<pid>/stat from the third (state) on."""
    try:
        return (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None


def _group_lives(leader: int) -> bool:
    try:
        os.killpg(leader, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        return False
    return True
