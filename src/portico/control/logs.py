"""Log history with follow: lines are taken on the event loop, written in a thread, and handed to followers."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import msgspec

from portico.control.log_files import LogFiles
from portico.wire.container import LogLine

logger = logging.getLogger(__name__)

GATHER = 0.05  # seconds lines wait for company before they are written
MAX_PENDING = 50_000  # lines waiting for the disk
MAX_QUEUED = 5_000  # lines waiting for one follower
MAX_CONTAINERS = 10_000  # containers whose app is remembered


class Follower:
    """One reader of an app's lines as they come. It never slows the server: what does not fit is counted."""

    def __init__(self, container_id: str | None = None, *, limit: int = MAX_QUEUED) -> None:
        self._container_id = container_id
        self._limit = limit
        self._lines: deque[LogLine] = deque()
        self._lost = 0
        self._last: LogLine | None = None
        self._closed = False
        self._changed = asyncio.Event()

    def put(self, line: LogLine) -> None:
        """A line was printed."""
        if self._container_id is not None and line.container_id != self._container_id:
            return
        self._last = line
        if len(self._lines) >= self._limit:
            self._lost += 1
            return
        self._admit_loss()
        self._lines.append(line)
        self._changed.set()

    def close(self) -> None:
        """No more lines come."""
        self._closed = True
        self._changed.set()

    async def get(self) -> LogLine | None:
        """The next line, or None after the last."""
        while not self._lines:
            self._admit_loss()
            if self._lines:
                break
            if self._closed:
                return None
            self._changed.clear()
            await self._changed.wait()
        return self._lines.popleft()

    def _admit_loss(self) -> None:
        if self._lost == 0 or self._last is None:
            return
        text = f"{self._lost} lines are not shown: this reader is too slow"
        self._lines.append(_notice(self._last, text))
        self._lost = 0


class Logs:
    """Lines of all apps. `append` and `follower` belong to the event loop and do not block."""

    def __init__(self, files: LogFiles) -> None:
        self._files = files
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="portico-logs")
        self._pending: dict[str, list[LogLine]] = {}
        self._waiting = 0
        self._in_thread = 0
        self._dropped: dict[str, int] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._followers: defaultdict[str, set[Follower]] = defaultdict(set)
        self._apps: dict[str, str] = {}
        self._ending = False
        self._closed = False

    def append(self, line: LogLine) -> None:
        """Keep a line and hand it to the app's followers."""
        if self._closed:
            return
        for follower in self._followers.get(line.app_id, ()):
            follower.put(line)
        self._remember_container(line)
        if self._waiting + self._in_thread >= MAX_PENDING:
            self._dropped[line.app_id] = self._dropped.get(line.app_id, 0) + 1
            return
        pending = self._pending.setdefault(line.app_id, [])
        if line.app_id in self._dropped:
            lost = self._dropped.pop(line.app_id)
            pending.append(_notice(line, f"{lost} lines were lost: the disk is too slow for them"))
        pending.append(line)
        self._waiting += 1
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(GATHER, self._flush)

    def app_of(self, container_id: str) -> str | None:
        """The app a container that has printed something belongs to."""
        return self._apps.get(container_id)

    async def tail(
        self, app_id: str, n: int, since: float = 0.0, container_id: str | None = None
    ) -> list[LogLine]:
        """The last `n` lines not older than `since`, oldest first; of one container if it is given."""
        return await asyncio.wrap_future(self._read(app_id, n, since, container_id))

    @contextlib.contextmanager
    def follower(self, app_id: str, container_id: str | None = None) -> Iterator[Follower]:
        """A reader of the app's lines from now on."""
        follower = Follower(container_id)
        self._followers[app_id].add(follower)
        if self._ending:
            follower.close()
        try:
            yield follower
        finally:
            followers = self._followers[app_id]
            followers.discard(follower)
            if not followers:
                del self._followers[app_id]

    async def follow(
        self, app_id: str, n: int, since: float = 0.0, container_id: str | None = None
    ) -> AsyncIterator[LogLine]:
        """The tail, then every line as it comes, none twice and none missed, until the app ends."""
        with self.follower(app_id, container_id) as follower:
            # Asked for in the same tick: the history ends exactly where the follower begins.
            history = self._read(app_id, n, since, container_id)
            for line in await asyncio.wrap_future(history):
                yield line
            while (line_or_end := await follower.get()) is not None:
                yield line_or_end

    def end(self, app_id: str) -> None:
        """The app is over: its followers get what is queued, then the end."""
        for follower in self._followers.get(app_id, ()):
            follower.close()

    def end_all(self) -> None:
        """Every app is over for its followers, and no new one follows anything."""
        self._ending = True
        for app_id in self._followers:
            self.end(app_id)

    async def remove(self, app_id: str) -> None:
        """Forget the app's history."""
        self._flush()
        await asyncio.wrap_future(self._thread.submit(self._files.remove, app_id))

    async def remove_unwritten_since(self, horizon: float, keep: set[str]) -> None:
        """Forget apps without a line after `horizon`, but those in `keep`."""
        job = self._thread.submit(self._files.remove_unwritten_since, horizon, keep)
        await asyncio.wrap_future(job)

    async def close(self) -> None:
        """Write what is pending and end every follower. Idempotent."""
        if self._closed:
            return
        self.end_all()
        self._flush()
        self._closed = True
        await asyncio.to_thread(self._thread.shutdown)

    def _read(
        self, app_id: str, n: int, since: float, container_id: str | None
    ) -> Future[list[LogLine]]:
        self._flush()
        return self._thread.submit(self._files.tail, app_id, n, since, container_id)

    def _flush(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if not self._pending or self._closed:
            return
        batch, self._pending = self._pending, {}
        loop = asyncio.get_running_loop()
        job = self._thread.submit(self._write, batch)
        waiting, self._waiting = self._waiting, 0
        self._in_thread += waiting
        job.add_done_callback(_call_on(loop, lambda: self._wrote(waiting)))

    def _wrote(self, lines: int) -> None:
        self._in_thread -= lines

    def _write(self, batch: dict[str, list[LogLine]]) -> None:
        for app_id, lines in batch.items():
            self._write_lines(app_id, lines)

    def _write_lines(self, app_id: str, lines: list[LogLine]) -> None:
        try:
            self._files.write(app_id, lines)
        except OSError as error:
            logger.warning("%d log lines of %s were not written: %s", len(lines), app_id, error)

    def _remember_container(self, line: LogLine) -> None:
        if line.container_id in self._apps:
            return
        if len(self._apps) >= MAX_CONTAINERS:
            del self._apps[next(iter(self._apps))]
        self._apps[line.container_id] = line.app_id


def _call_on(
    loop: asyncio.AbstractEventLoop, callback: Callable[[], None]
) -> Callable[[Future[None]], None]:
    def done(_job: Future[None]) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody counts any more
            loop.call_soon_threadsafe(callback)

    return done


def _notice(like: LogLine, text: str) -> LogLine:
    return msgspec.structs.replace(like, stream="system", text=text, time=time.time())
