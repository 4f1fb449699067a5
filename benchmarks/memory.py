"""Memory of a process, as Linux accounts for it."""

from __future__ import annotations

from pathlib import Path

PROC = Path("/proc")


def readable() -> bool:
    """Whether this machine tells what a process uses."""
    return (PROC / "self" / "clear_refs").exists()


def children(pid: int) -> list[int]:
    """The processes that `pid` has started and that still run, without theirs."""
    lists = (PROC / str(pid) / "task").glob("*/children")
    return [int(child) for one in lists for child in one.read_text().split()]


def resident(pid: int) -> int:
    """Bytes in memory now."""
    return _status(pid, "VmRSS")


def peak(pid: int) -> int:
    """The most bytes in memory since the start, or since `forget_peak`."""
    return _status(pid, "VmHWM")


def forget_peak(pid: int) -> None:
    """Let `peak` begin anew. Raises PermissionError for the process of another user."""
    (PROC / str(pid) / "clear_refs").write_text("5")


def _status(pid: int, name: str) -> int:
    lines = (PROC / str(pid) / "status").read_text().splitlines()
    (line,) = (line for line in lines if line.startswith(f"{name}:"))
    return 1024 * int(line.split()[1])
