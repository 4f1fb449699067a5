"""``wsgi.file_wrapper``: a response body that is a file (PEP 3333, Optional Platform-Specific File Handling)."""

from __future__ import annotations

import io
import os
import stat
from collections.abc import Iterator
from typing import Any, NamedTuple


class FileWrapper:
    """An iterable of a file's blocks, closed with the file."""

    def __init__(self, filelike: Any, block_size: int = 64 * 1024) -> None:
        self.filelike = filelike
        self._block_size = block_size

    def __iter__(self) -> Iterator[bytes]:
        return iter(lambda: self.filelike.read(self._block_size), b"")

    def close(self) -> None:
        """Close the file, if it can be."""
        close = getattr(self.filelike, "close", None)
        if close is not None:
            close()


class Span(NamedTuple):
    """A part of a regular file that the kernel can send."""

    file: io.BufferedReader | io.FileIO
    offset: int
    length: int


def span_of(filelike: Any) -> Span | None:
    """What is left of `filelike` from its position on, where reading it is the same as reading its descriptor.

    A GzipFile has a descriptor as well, with other bytes behind it.
    """
    raw = filelike.raw if isinstance(filelike, io.BufferedReader) else filelike
    if not isinstance(raw, io.FileIO):
        return None
    found = os.fstat(raw.fileno())
    if not stat.S_ISREG(found.st_mode):
        return None
    offset = filelike.tell()
    return Span(filelike, offset, max(0, found.st_size - offset))
