"""What a process sandbox has running, on disk, so that the next server can end it after a kill -9.

``owners/<owner>/`` in the run folder holds one file per zygote (``zygote-<cookie>``) and per container
(its id), each with the process id and start time once known, and the path of the sockets folder. `<owner>` is
the server's own process id and start time: a folder whose owner lives is somebody else's business.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from portico.sandboxes.strays import Marks, end_strays, start_time

OWNERS = "owners"
SOCKETS = "sockets"
ZYGOTE = "zygote-"


class Ledger:
    """The records of one sandbox. Making one ends what dead owners have left in `run_dir`."""

    def __init__(self, run_dir: Path) -> None:
        self._run_dir = run_dir
        self._start = start_time(os.getpid())
        run_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        end_leftovers(run_dir)
        self._folder = run_dir / OWNERS / f"{os.getpid()}.{secrets.token_hex(8)}"
        self._folder.mkdir(mode=0o700, parents=True)
        _write(self._folder / "owner", os.getpid(), self._start)
        # Socket paths are at most 104 bytes on some systems, and run folders may be deep.
        self.sockets = Path(tempfile.mkdtemp(prefix="portico-", dir=_short_folder()))
        (self._folder / SOCKETS).write_text(str(self.sockets))

    def expect(self, name: str) -> None:
        """Record that `name` is about to be started. Raises OSError."""
        (self._folder / name).touch()

    def record(self, name: str, pid: int) -> None:
        """Record the process of `name`. A full disk costs only the clean-up after a kill -9."""
        with contextlib.suppress(OSError):
            _write(self._folder / name, pid, start_time(pid))

    def forget(self, name: str) -> None:
        """`name` is gone."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._folder / name)

    def close(self) -> None:
        """Everything is gone, so are the records."""
        shutil.rmtree(self.sockets, ignore_errors=True)
        shutil.rmtree(self._folder, ignore_errors=True)


def end_leftovers(run_dir: Path) -> None:
    """End every process, and remove every folder, of owners in `run_dir` that are dead."""
    owners = run_dir / OWNERS
    for folder in list(owners.iterdir()) if owners.is_dir() else ():
        if _lives(folder / "owner") is not None:
            continue
        end_strays(_marks(folder, run_dir))
        for name in _containers(folder):
            shutil.rmtree(run_dir / name, ignore_errors=True)
        with contextlib.suppress(OSError):
            shutil.rmtree((folder / SOCKETS).read_text(), ignore_errors=True)
        shutil.rmtree(folder, ignore_errors=True)


def _marks(folder: Path, run_dir: Path) -> Iterator[Marks]:
    """How to recognise what a dead owner started.

    A session counts only while its recorded leader lives: the number of a dead one may be anybody's by now.
    """
    leaders = frozenset(pid for record in folder.iterdir() if (pid := _lives(record)) is not None)
    folders = tuple(str((run_dir / name).resolve()) for name in _containers(folder))
    cookies = [r.name.removeprefix(ZYGOTE) for r in folder.iterdir() if r.name.startswith(ZYGOTE)]
    for cookie in cookies:
        yield Marks(cookie, leaders, folders)


def _containers(folder: Path) -> list[str]:
    return [record.name for record in folder.iterdir() if record.name.startswith("ta-")]


def _lives(record: Path) -> int | None:
    """The process of `record`, where it is still the same process."""
    try:
        pid, _, started = record.read_text().partition(" ")
    except OSError:
        return None
    if not pid.isdigit() or not started or start_time(int(pid)) != started:
        return None
    return int(pid)


def _write(path: Path, pid: int, started: str | None) -> None:
    # Half a record is harmless: its start time fits no process.
    path.write_text(f"{pid} {started or ''}")


def _short_folder() -> str:
    folder = tempfile.gettempdir()
    return folder if len(folder) <= 50 else "/tmp"
