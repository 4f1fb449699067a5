"""The local server as a process of its own: starting it, waiting for it, stopping it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from portico.client.discovery import process_lives, read_record, running_local, state_dir
from portico.exception import ExecutionError
from portico.wire.local import LOCAL_RECORD, ServerRecord

START_TIMEOUT = 60.0  # seconds until a server must have answered
STOP_TIMEOUT = 45.0  # seconds: containers have 30 to drain
LOG_END = 20  # lines of the log shown where a server does not come up
POLL = 0.05  # seconds


def start_server(options: Sequence[str] = ()) -> ServerRecord:
    """Start the local server in the background and return when it answers.

    Where another one of this state folder comes up first, that one is returned. Raises `ExecutionError`
    with the end of the server's log.
    """
    folder = state_dir().resolve()
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    log = folder / "server.log"
    begins = log.stat().st_size if log.exists() else 0
    with log.open("ab") as output:
        server = subprocess.Popen(
            [sys.executable, "-P", "-m", "portico", "server", "run", *options],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd=folder,  # not the user's folder, which must stay free to be moved or unmounted
            env={**os.environ, "PORTICO_STATE_DIR": str(folder)},
            start_new_session=True,
        )

    def ended() -> bool:
        return server.poll() is not None

    def record() -> ServerRecord | None:
        return running_local(folder) if (folder / LOCAL_RECORD).exists() else None

    found = _wait_for(lambda: record() or ended(), START_TIMEOUT)
    # One that ended may have lost a race against another start of the same server.
    result = found if isinstance(found, ServerRecord) else record()
    if result is not None:
        return result
    if not ended():
        server.terminate()
    raise ExecutionError(f"the server did not start; the end of {log}:\n{_log_end(log, begins)}")


def stop_server() -> int | None:
    """Stop the local server and wait until it has ended; its pid, or None where none runs."""
    path = state_dir() / LOCAL_RECORD
    record = read_record(path)
    if record is None or record.pid is None:
        return None
    if running_local(state_dir()) is None:
        raise ExecutionError(
            f"process {record.pid} is on record as the server but does not answer as one\n"
            f"If `ps -p {record.pid}` shows a Portico server, end it with `kill {record.pid}`; "
            f"else remove {path}."
        )
    pid = record.pid
    os.kill(pid, signal.SIGTERM)
    if not _wait_for(lambda: not process_lives(pid), STOP_TIMEOUT):
        raise ExecutionError(
            f"the server (process {pid}) has not ended after {STOP_TIMEOUT:.0f} s\n"
            f"It may still drain requests; `kill -9 {pid}` ends it with every container."
        )
    return pid


def _wait_for(condition: Callable[[], object], seconds: float) -> object:
    deadline = time.monotonic() + seconds
    while not (result := condition()) and time.monotonic() < deadline:
        time.sleep(POLL)
    return result


def _log_end(log: Path, begins: int) -> str:
    with log.open("rb") as file:
        file.seek(begins)
        lines = file.read().decode(errors="replace").splitlines()
    return "\n".join(lines[-LOG_END:]) or "(empty)"
