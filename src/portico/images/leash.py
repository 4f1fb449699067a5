"""Runs one command so that nothing of it outlives the process that started it.

A program, run by path (``python -I -S leash.py COMMAND …``), so that it starts in milliseconds and imports
nothing of Portico. The starter keeps the write end of this program's standard input open: its end, for
whatever reason, is the order to kill. The command's exit status becomes this program's.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import signal
import sys
from collections.abc import Iterator, Sequence

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36

ORDERED_TO_END = 128 + signal.SIGTERM
NOT_STARTED = 127


def leashed(command: Sequence[str]) -> list[str]:
    """The command line that runs `command` on a leash: keep its standard input open as long as it may run.

    Start it in a session of its own, so that a terminal's Ctrl-C reaches only the starter, which then lets go.
    """
    return [sys.executable, "-I", "-S", os.path.abspath(__file__), *command]


def main(command: list[str]) -> int:
    """Run `command`; return its exit status, or 128 plus the number of the signal that ended it."""
    signals = _signals_as_bytes()
    if sys.platform == "linux":
        # The pipe alone would do, were it not for a starter that leaked its write end into another child.
        _prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        # A build that daemonizes itself is handed to this process instead of init, and so is found by `_sweep`.
        _prctl(PR_SET_CHILD_SUBREAPER, 1)
    child = _start(command)
    status = _watch(child, signals)
    _sweep(child)
    return status


def _signals_as_bytes() -> int:
    """Every signal of interest arrives as a byte on the descriptor returned, beside the pipe, for one `select`."""
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: None)
    return reader


def _start(command: list[str]) -> int:
    child = os.fork()
    if child:
        return child
    try:
        os.setsid()
        if sys.platform == "linux":
            _prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        for number in (signal.SIGPIPE, signal.SIGXFSZ):
            signal.signal(number, signal.SIG_DFL)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        # A lock that this process was given must end with this process, not with the command.
        os.closerange(3, os.sysconf("SC_OPEN_MAX"))
        os.execvp(command[0], command)
    except OSError as error:
        os.write(2, f"{command[0]}: {error.strerror}\n".encode())
    finally:
        os._exit(NOT_STARTED)


def _watch(child: int, signals: int) -> int:
    """Wait for the command's end or the order to end it."""
    while True:
        readable, _, _ = select.select([sys.stdin.fileno(), signals], [], [])
        # What the starter writes means nothing; only the end of the pipe does.
        if sys.stdin.fileno() in readable and not os.read(sys.stdin.fileno(), 4096):
            return ORDERED_TO_END
        if signals not in readable:
            continue
        if set(os.read(signals, 4096)) - {signal.SIGCHLD}:
            return ORDERED_TO_END
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            code = os.waitstatus_to_exitcode(status)
            return code if code >= 0 else 128 - code


def _sweep(child: int) -> None:
    """Kill what is left: the command's group, then, where they can be seen, descendants that left the group."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child, signal.SIGKILL)
    while True:
        for pid in _children():
            os.kill(pid, signal.SIGKILL)
        try:
            os.waitpid(
                -1, 0
            )  # each death hands the dead one's children to this process: look again
        except ChildProcessError:
            return


def _children() -> Iterator[int]:
    if sys.platform != "linux":
        return
    me = os.getpid()
    for name in os.listdir("/proc"):
        if name.isdigit() and _parent(name) == me:
            yield int(name)


def _parent(pid: str) -> int | None:
    try:
        with open(f"/proc/{pid}/stat", "rb") as stat:
            return int(stat.read().rpartition(b")")[2].split()[1])
    except OSError:
        return None  # ended meanwhile


def _prctl(option: int, value: int) -> None:
    ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
