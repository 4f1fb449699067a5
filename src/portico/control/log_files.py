"""Log history on disk: a few append-only segments per app, the oldest dropped."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

from portico.wire.container import LogLine

SEGMENT_BYTES = 10_000_000
SEGMENTS = 10


class LogFiles:
    """Segments of all apps below one folder. Methods block on the disk and belong to one thread."""

    def __init__(
        self, folder: Path, *, segment_bytes: int = SEGMENT_BYTES, segments: int = SEGMENTS
    ) -> None:
        self._folder = folder
        self._segment_bytes = segment_bytes
        self._segments = segments
        self._encoder = msgspec.json.Encoder()
        self._decoder = msgspec.json.Decoder(LogLine)

    def write(self, app_id: str, lines: Iterable[LogLine]) -> None:
        """Append `lines`. Raises OSError."""
        folder = self._folder / app_id
        for missing in (self._folder, folder):
            missing.mkdir(mode=0o700, parents=True, exist_ok=True)
        segments = self._of(app_id)
        segment = segments[-1] if segments else folder / _name(1)
        data = bytearray()
        for line in lines:
            data += self._encoder.encode(line) + b"\n"
        if segments and segment.stat().st_size + len(data) > self._segment_bytes:
            segment = folder / _name(int(segment.stem) + 1)
            for old in segments[: len(segments) + 1 - self._segments]:
                old.unlink(missing_ok=True)
        with segment.open("ab+") as file:
            if _ends_in_half_a_line(file.tell(), segment):
                file.write(b"\n")
            file.write(data)

    def tail(
        self, app_id: str, n: int, since: float = 0.0, container_id: str | None = None
    ) -> list[LogLine]:
        """The last `n` lines not older than `since`, oldest first; of one container if it is given."""
        found: list[LogLine] = []
        for line in self._backwards(app_id):
            if len(found) >= n or line.time < since:
                break
            if container_id is None or line.container_id == container_id:
                found.append(line)
        return found[::-1]

    def remove(self, app_id: str) -> None:
        """Forget an app's history."""
        shutil.rmtree(self._folder / app_id, ignore_errors=True)

    def remove_unwritten_since(self, horizon: float, keep: Iterable[str]) -> None:
        """Forget apps without a line after `horizon`, but those in `keep`."""
        if not self._folder.is_dir():
            return
        kept = set(keep)
        for folder in list(self._folder.iterdir()):
            times = [segment.stat().st_mtime for segment in self._of(folder.name)]
            if folder.name not in kept and max(times, default=0.0) < horizon:
                self.remove(folder.name)

    def _of(self, app_id: str) -> list[Path]:
        return sorted((self._folder / app_id).glob("*.ndjson"))

    def _backwards(self, app_id: str) -> Iterator[LogLine]:
        for segment in reversed(self._of(app_id)):
            for raw in reversed(segment.read_bytes().split(b"\n")):
                try:
                    line = self._decoder.decode(raw)
                except msgspec.DecodeError:  # empty, or cut off by the end of a former server
                    continue
                yield line


def _name(number: int) -> str:
    return f"{number:08}.ndjson"


def _ends_in_half_a_line(size: int, segment: Path) -> bool:
    if size == 0:
        return False
    with segment.open("rb") as file:
        file.seek(size - 1)
        return file.read(1) != b"\n"
