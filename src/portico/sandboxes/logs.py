"""Containers' output: from pipes to lines, at a pace that leaves the event loop to others."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from typing import Literal

MAX_LINE = 64 * 1024  # bytes; longer lines are split
CHUNK = 16 * 1024
SHARE = 4  # a flood is left unread four times as long as reading it took; the pipe then holds the writer


class LineCutter:
    """Cuts bytes into lines of at most `MAX_LINE` bytes; invalid UTF-8 becomes U+FFFD."""

    def __init__(self) -> None:
        self._partial = b""

    def feed(self, data: bytes) -> list[str]:
        """The lines that are whole now."""
        *whole, rest = (self._partial + data).split(b"\n")
        lines = [text for line in whole for text in self._split(line.removesuffix(b"\r"))]
        while len(rest) > MAX_LINE:
            lines.append(decoded(rest[:MAX_LINE]))
            rest = rest[MAX_LINE:]
        self._partial = rest
        return lines

    def flush(self) -> list[str]:
        """The line that was never ended, if any."""
        rest, self._partial = self._partial, b""
        return [decoded(rest)] if rest else []

    @staticmethod
    def _split(line: bytes) -> list[str]:
        if len(line) <= MAX_LINE:
            return [decoded(line)]
        return [decoded(line[i : i + MAX_LINE]) for i in range(0, len(line), MAX_LINE)]


def decoded(line: bytes) -> str:
    """`line` as text."""
    return line.decode("utf-8", "replace")


class LogPipe:
    """Reads one stream of one container and hands its lines to `emit`.

    Nothing is buffered but one partial line: while `emit` is busy the pipe fills and the container waits.
    """

    def __init__(
        self, descriptor: int, stream: Literal["stdout", "stderr"], emit: Callable[[str, str], None]
    ) -> None:
        self._descriptor = descriptor
        self._stream = stream
        self._emit = emit
        self._cutter = LineCutter()
        self._loop = asyncio.get_running_loop()
        self._pause: asyncio.TimerHandle | None = None
        self._open = True
        os.set_blocking(descriptor, False)
        self._resume()

    def finish(self) -> None:
        """Hand on what is left in the pipe and close it. Every writer is gone."""
        while self._open and self._read():
            pass
        self._close()

    def _resume(self) -> None:
        self._pause = None
        self._loop.add_reader(self._descriptor, self._readable)

    def _readable(self) -> None:
        began = time.perf_counter()
        if self._read() < CHUNK or not self._open:
            return
        self._loop.remove_reader(self._descriptor)
        spent = time.perf_counter() - began
        self._pause = self._loop.call_later(SHARE * spent, self._resume)

    def _read(self) -> int:
        """Read once; the number of bytes, 0 when there is nothing now or ever again."""
        try:
            data = os.read(self._descriptor, CHUNK)
        except BlockingIOError:
            return 0
        if not data:
            self._close()
            return 0
        for line in self._cutter.feed(data):
            self._emit(self._stream, line)
        return len(data)

    def _close(self) -> None:
        if not self._open:
            return
        self._open = False
        if self._pause is not None:
            self._pause.cancel()
        self._loop.remove_reader(self._descriptor)
        os.close(self._descriptor)
        for line in self._cutter.flush():
            self._emit(self._stream, line)
