"""The state folder: what lies where, who may read it, and that one server owns it at a time."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import IO

import msgspec

from portico.wire.local import ServerRecord, record_name


class StateLocked(Exception):
    """Another server owns the state folder."""


class StateFolder:
    """Paths under the state folder; it and everything in it is the user's alone (0700)."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.images = root / "images"
        self.run = root / "run"
        self._lock: IO[str] | None = None

    def create(self) -> None:
        """Make what is missing. Raises OSError."""
        for folder in (self.root, self.images, self.run):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.root.chmod(0o700)

    def lock(self) -> None:
        """Own the folder until `unlock` or the end of the process. Raises `StateLocked`."""
        lock = (self.root / "server.lock").open("a+")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            owner = lock.read().strip()
            lock.close()
            raise StateLocked(
                f"a server with the state folder {self.root} runs already (pid {owner or 'unknown'})"
            ) from None
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        self._lock = lock

    def unlock(self) -> None:
        """Give the folder back."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def write_record(self, record: ServerRecord) -> Path:
        """Leave word where this server is found; readable by the user alone, whole or not there."""
        path = self.root / record_name(record.pid or 0, embedded=record.embedded)
        draft = path.with_suffix(f".{os.getpid()}.tmp")
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(msgspec.json.encode(record))
        draft.replace(path)
        return path
