"""A build's log: kept whole for whoever joins late, and in a file."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from portico.images.base import BuildLogSink

TAIL_LINES = 40


class BuildLog:
    """The lines of one build. Any number of readers follow it, each from its beginning."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self._closed = False
        self._changed = asyncio.Event()
        self._file: BinaryIO | None = None

    def add(self, line: str) -> None:
        """Append a line, without its line end."""
        self.lines.append(line)
        self._wake()
        self._write(line)

    def close(self) -> None:
        """No line follows: readers come to an end."""
        self._closed = True
        self._wake()

    def tail(self) -> str:
        """The last 40 lines."""
        return "\n".join(self.lines[-TAIL_LINES:])

    async def follow(self, sink: BuildLogSink) -> None:
        """Tell `sink` every line from the first, until the build has ended. What `sink` raises ends this reader only."""
        position = 0
        while True:
            while position < len(self.lines):
                sink(self.lines[position])
                position += 1
            if self._closed:
                return
            await self._changed.wait()

    @contextlib.contextmanager
    def kept_in(self, path: Path) -> Iterator[None]:
        """Lines added inside the `with` are written to `path` as well. Raises OSError if it cannot be created."""
        with path.open("wb", buffering=0) as file:
            self._file = file
            try:
                yield
            finally:
                self._file = None

    def _write(self, line: str) -> None:
        if self._file is None:
            return
        try:
            self._file.write(line.encode("utf-8", "replace") + b"\n")
        except OSError as error:
            # A full disk must not hide what the build itself says about it: readers still get every line.
            self._file = None
            self.add(f"The log file is cut short: {error.strerror}.")

    def _wake(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()
