"""What the operating system does for us when processes die: parent-death signals, reapers, children."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Callable, Iterator

PR_SET_PDEATHSIG = 1  # <linux/prctl.h>
PR_SET_CHILD_SUBREAPER = 36

Prctl = Callable[[int, int], None]


def prepare_prctl() -> Prctl | None:
    """``prctl(option, argument)`` on Linux, None elsewhere.

    Loading libc takes locks and memory, so it happens before a fork and not between fork and use.
    """
    if not sys.platform.startswith("linux"):
        return None
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl.argtypes = [ctypes.c_int] + [ctypes.c_ulong] * 4

    def prctl(option: int, argument: int) -> None:
        if libc.prctl(option, argument, 0, 0, 0) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))

    return prctl


def collect_dead(bury: Callable[[int], None]) -> Iterator[tuple[int, int]]:
    """Reap the children that have ended: process id and exit status, negative for a signal.

    `bury` is called with the id before it is given up, while it still names the child's own process group
    (on systems without waitid: right after).
    """
    while True:
        try:
            if hasattr(os, "waitid"):
                dead = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
                if dead is None:
                    return
                bury(dead.si_pid)
                pid, status = os.waitpid(dead.si_pid, 0)
            else:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if pid == 0:
                    return
                bury(pid)
        except ChildProcessError:
            return
        yield pid, os.waitstatus_to_exitcode(status)


def own_children() -> set[int]:
    """Process ids of this process's children, zombies included; empty where /proc is absent.

    The kernel may skip an entry of the file while another child is being reaped, so one empty answer is
    asked for again.
    """
    return _read_children() or _read_children()


def _read_children() -> set[int]:
    me = os.getpid()
    try:
        with open(f"/proc/{me}/task/{me}/children") as file:
            return {int(pid) for pid in file.read().split()}
    except FileNotFoundError:
        return _scan_children(me)


def descendants() -> set[int]:
    """Process ids of this process's children and of theirs, to the last; empty where /proc is absent."""
    children: dict[int, list[int]] = {}
    for pid, parent in _parents():
        children.setdefault(parent, []).append(pid)
    found: set[int] = set()
    ahead = [os.getpid()]
    while ahead:
        born = children.get(ahead.pop(), ())
        found.update(born)
        ahead.extend(born)
    return found


def _scan_children(parent: int) -> set[int]:
    """The same as the file says, for kernels built without it."""
    return {pid for pid, its_parent in _parents() if its_parent == parent}


def _parents() -> Iterator[tuple[int, int]]:
    """Every process with its parent: one pass over /proc."""
    try:
        entries = os.listdir("/proc")
    except FileNotFoundError:
        return
    for entry in entries:
        if not entry.isdigit():
            continue
        try:
            with open(f"/proc/{entry}/stat") as file:
                fields = file.read().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        yield int(entry), int(fields[1])
