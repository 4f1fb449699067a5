"""Processes that benchmarks start: always ended, never by name, and explained where they fail."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from benchmarks.model import MeasurementError

T = TypeVar("T")

START_TIMEOUT = 60.0  # seconds
END_TIMEOUT = 40.0  # seconds; Portico gives containers 30 to drain
POLL = 0.002  # seconds
KEPT = 20  # lines of a failed process's output


def clean_environ(**more: str) -> dict[str, str]:
    """This environment without what changes how Python runs or which server Portico's commands find."""
    dropped = ("PYTHON", "PORTICO_", "COLUMNS", "FORCE_COLOR", "VIRTUAL_ENV")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(dropped)}
    return {**kept, **more}


class Background:
    """A process with its output in files. `ended_by` is the signal that ends it gently."""

    def __init__(
        self,
        command: Sequence[str | Path],
        *,
        folder: Path,
        env: Mapping[str, str],
        ended_by: signal.Signals = signal.SIGTERM,
    ) -> None:
        self._ended_by = ended_by
        self._name = Path(command[0]).name
        folder.mkdir(parents=True, exist_ok=True)
        self._out = folder / "stdout"
        self._err = folder / "stderr"
        with self._out.open("wb") as out, self._err.open("wb") as err:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                cwd=folder,
                env=dict(env),
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """The process's id."""
        return self._process.pid

    @property
    def output(self) -> str:
        """Everything printed so far, standard output first."""
        return "".join(path.read_text("utf-8", "replace") for path in (self._out, self._err))

    def wait_for(
        self, look: Callable[[], T | None], what: str, timeout: float = START_TIMEOUT
    ) -> T:
        """The first thing that `look` finds. Raises `MeasurementError` where the process ends before."""
        deadline = time.monotonic() + timeout
        while (found := look()) is None:
            if self._process.poll() is not None or time.monotonic() > deadline:
                end = "\n".join(self.output.splitlines()[-KEPT:])
                raise MeasurementError(
                    f"{self._name}: {what} did not come; its output ends:\n{end}"
                )
            time.sleep(POLL)
        return found

    def end(self) -> None:
        """End the process with its group and wait for it."""
        if self._process.poll() is None:
            self._process.send_signal(self._ended_by)
        try:
            self._process.wait(END_TIMEOUT)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()


@contextlib.contextmanager
def background(
    command: Sequence[str | Path],
    *,
    folder: Path,
    env: Mapping[str, str],
    ended_by: signal.Signals = signal.SIGTERM,
) -> Iterator[Background]:
    """A `Background` process that is over when the context is left."""
    process = Background(command, folder=folder, env=env, ended_by=ended_by)
    try:
        yield process
    finally:
        process.end()


def checked(command: Sequence[str | Path], *, env: Mapping[str, str], cwd: Path) -> str:
    """The standard output of a command that succeeds. Raises `MeasurementError` with its last words."""
    done = subprocess.run(command, env=dict(env), cwd=cwd, capture_output=True, text=True)
    if done.returncode != 0:
        end = "\n".join((done.stdout + done.stderr).splitlines()[-KEPT:])
        raise MeasurementError(f"{Path(command[0]).name} ended with {done.returncode}:\n{end}")
    return done.stdout


def run_time(command: Sequence[str | Path], *, env: Mapping[str, str], cwd: Path) -> float:
    """Seconds from the start of a command to its end."""
    began = time.perf_counter()
    checked(command, env=env, cwd=cwd)
    return time.perf_counter() - began


def processor_time(pid: int) -> float:
    """Seconds of processor time that a process has used, with the kernel's work for it (Linux)."""
    # The name, in parentheses, may contain spaces; user and system time are fields 14 and 15 (proc(5)).
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def free_port() -> int:
    """A TCP port of the loopback that nothing listens on just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def open_files(wanted: int) -> str:
    """Let this process and those it starts have so many open files. Why they may not; empty where they may."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < wanted:
        return f"only {hard:,} open files are allowed"
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return ""


def end_marked(name: str, value: str) -> None:
    """Kill every process that has a variable of this value in its environment, wherever it has gone.

    Raises `MeasurementError` where one does not end.
    """
    mark = os.fsencode(f"{name}={value}")
    deadline = time.monotonic() + END_TIMEOUT
    while left := list(_marked(mark)):
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if time.monotonic() > deadline:
            raise MeasurementError(f"the processes {left} do not end")
        time.sleep(POLL)


def _marked(mark: bytes) -> Iterator[int]:
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it has ended, or is another user's
            if mark in (process / "environ").read_bytes().split(b"\0"):
                yield int(process.name)
