"""A file that lines are appended to by a thread of its own: who has a line to write never waits for a disk."""

from __future__ import annotations

import contextlib
import os
import select
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path

import msgspec

INTERVAL = 0.5  # seconds between writes
BATCH = 256  # lines, about 64 KiB: written at once, and without waiting for the interval
MAX_WAITING = 10_000  # lines in memory, some megabytes; further ones are dropped
CALM = 10.0  # seconds without a dropped line until a trouble counts as over
CLOSE_PATIENCE = 5.0  # seconds that the last lines have to get out
MODE = 0o640  # who reads logs is often of the file's group, and nobody else's business


class LogWriter:
    """Appends records as JSON, a line each, to a file, or to a descriptor that is open already.

    A file that was moved away or removed is made anew before the next line, so that no signal is needed to rotate it.
    What cannot be written because the disk is full or slow is dropped and counted in `dropped`; `complain` is told
    once, and once more when it is over, from the writer's thread.
    """

    def __init__(self, target: Path | int, *, complain: Callable[[str], None]) -> None:
        self._path = target if isinstance(target, Path) else None
        self._descriptor = -1 if isinstance(target, Path) else target
        self._complain = complain
        self._waiting: deque[msgspec.Struct] = deque()
        self._wake = threading.Event()
        self._closing = False
        self._torn = False  # whether the last line written is not whole
        self._overrun = 0  # lines that came when too many waited: the loop's thread counts them
        self._failed = 0  # lines that could not be written: the writer's thread counts them
        self._noticed = 0  # lines dropped when that was last looked at
        self._trouble_at: float | None = None
        self._thread = threading.Thread(target=self._run, name="portico-access-log", daemon=True)

    def open(self) -> None:
        """Open the file and begin. Raises OSError."""
        if self._path is not None:
            self._open()
        self._thread.start()

    def write(self, record: msgspec.Struct) -> None:
        """Have a line written soon. Called on the event loop; never blocks."""
        waiting = self._waiting
        if len(waiting) >= MAX_WAITING:
            self._overrun += 1
            return
        waiting.append(record)
        if len(waiting) == BATCH:
            self._wake.set()

    def close(self) -> None:
        """Write what waits, then close; gives up after `CLOSE_PATIENCE` seconds. Blocks."""
        self._closing = True
        self._wake.set()
        self._thread.join(CLOSE_PATIENCE)

    @property
    def dropped(self) -> int:
        """Lines that were not written."""
        return self._overrun + self._failed

    # -- the writer's thread

    def _run(self) -> None:
        encode = msgspec.json.Encoder().encode_lines
        closing = False
        while not closing:
            self._wake.wait(INTERVAL)
            self._wake.clear()
            closing = self._closing  # before the last look: what came before it is written
            while batch := self._next():
                self._write(encode(batch), len(batch))
            self._look_for_trouble("it is not written as fast as lines come")
        if self._path is not None:
            self._shut()

    def _next(self) -> list[msgspec.Struct]:
        waiting = self._waiting
        return [waiting.popleft() for _ in range(min(len(waiting), BATCH))]

    def _write(self, data: bytes, lines: int) -> None:
        written = 0
        try:
            self._follow()
            if self._torn:
                os.write(self._descriptor, b"\n")
                self._torn = False
            while written < len(data):
                written += self._write_some(data[written:])
            self._look_for_calm()
        except OSError as error:
            self._torn = self._torn or (written > 0 and data[written - 1] != ord("\n"))
            self._failed += lines - data.count(b"\n", 0, written)
            self._look_for_trouble(error.strerror or str(error))

    def _write_some(self, data: bytes) -> int:
        while True:
            try:
                return os.write(self._descriptor, data)
            except BlockingIOError:  # a terminal or pipe that somebody has made so
                select.select((), (self._descriptor,), (), INTERVAL)
                if self._closing:
                    raise

    def _follow(self) -> None:
        """Have the file open that has the name now."""
        if self._path is None:
            return
        if self._descriptor < 0 or self._moved(self._path):
            self._shut()
            self._open()

    def _moved(self, path: Path) -> bool:
        try:
            named = path.stat()
        except OSError:
            return True
        opened = os.fstat(self._descriptor)
        return (named.st_dev, named.st_ino) != (opened.st_dev, opened.st_ino)

    def _open(self) -> None:
        assert self._path is not None
        # A pipe that nobody reads is an error at once, rather than a server that waits and hears no signal.
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK
        self._descriptor = os.open(self._path, flags, MODE)
        self._torn = False

    def _shut(self) -> None:
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            with contextlib.suppress(OSError):  # such as a full disk, which is told by then
                os.close(descriptor)

    def _look_for_trouble(self, reason: str) -> None:
        """Say once that lines are dropped."""
        dropped = self.dropped
        if dropped == self._noticed:
            return
        if self._trouble_at is None:
            self._complain(f"{self._name}: {reason}; lines are dropped until it can be written")
        self._noticed, self._trouble_at = dropped, time.monotonic()

    def _look_for_calm(self) -> None:
        """Say once that lines are written again."""
        if self._trouble_at is not None and time.monotonic() - self._trouble_at > CALM:
            self._trouble_at = None
            self._complain(f"{self._name} is written again; {self.dropped} lines were dropped")

    @property
    def _name(self) -> str:
        return f"the access log {self._path or '-'}"
