"""Builds shared by concurrent callers, and their log."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from portico.images.base import BuildError
from portico.images.log import BuildLog
from portico.images.sharing import SharedBuilds
from portico.wire.image import ImageEnvironment

ENVIRONMENT = ImageEnvironment(image_id="im-1", python="/python", runner_path=())


class Controlled:
    """A build whose lines and end the test decides. `started` counts."""

    def __init__(self) -> None:
        self.started = 0
        self.log: BuildLog | None = None
        self.end = asyncio.Event()
        self.begun = asyncio.Event()
        self.error: Exception | None = None

    async def __call__(self, log: BuildLog) -> ImageEnvironment:
        self.started += 1
        self.log = log
        log.add("first")
        self.begun.set()
        await self.end.wait()
        log.add("last")
        if self.error:
            raise self.error
        return ENVIRONMENT


def scenario(test: Callable[[SharedBuilds, Controlled], Coroutine[Any, Any, None]]) -> None:
    async def main() -> None:
        await asyncio.wait_for(test(SharedBuilds(), Controlled()), 30)

    asyncio.run(main())


def joined(
    builds: SharedBuilds, make: Callable[[BuildLog], Awaitable[ImageEnvironment]], lines: list[str]
) -> asyncio.Task[ImageEnvironment]:
    return asyncio.create_task(builds.join("key", make, lines.append))


def test_one_build_serves_everyone_and_late_comers_get_the_log_from_its_beginning() -> None:
    async def test(builds: SharedBuilds, make: Controlled) -> None:
        early: list[str] = []
        first = joined(builds, make, early)
        await make.begun.wait()
        late: list[str] = []
        others = [joined(builds, make, late)]
        await asyncio.sleep(0)
        make.end.set()
        assert await asyncio.gather(first, *others) == [ENVIRONMENT, ENVIRONMENT]
        assert make.started == 1
        assert early == late == ["first", "last"]

    scenario(test)


def test_a_cancelled_waiter_does_not_cancel_the_build() -> None:
    async def test(builds: SharedBuilds, make: Controlled) -> None:
        leaving, staying = joined(builds, make, []), joined(builds, make, [])
        await make.begun.wait()
        leaving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await leaving
        make.end.set()
        assert await staying == ENVIRONMENT

    scenario(test)


def test_the_build_goes_on_when_every_waiter_has_gone() -> None:
    async def test(builds: SharedBuilds, make: Controlled) -> None:
        waiter = joined(builds, make, [])
        await make.begun.wait()
        waiter.cancel()
        await asyncio.wait([waiter])
        again = joined(builds, make, [])
        make.end.set()
        assert await again == ENVIRONMENT
        assert make.started == 1

    scenario(test)


def test_a_sink_that_fails_ends_its_own_waiter_only() -> None:
    async def test(builds: SharedBuilds, make: Controlled) -> None:
        def broken(line: str) -> None:
            raise ConnectionError("client gone")

        failing = asyncio.create_task(builds.join("key", make, broken))
        lines: list[str] = []
        staying = joined(builds, make, lines)
        with pytest.raises(ConnectionError):
            await failing
        make.end.set()
        assert await staying == ENVIRONMENT
        assert lines == ["first", "last"]

    scenario(test)


def test_a_failure_reaches_everyone_and_the_next_caller_builds_anew() -> None:
    async def test(builds: SharedBuilds, make: Controlled) -> None:
        make.error = BuildError("no such package")
        waiters = [joined(builds, make, []), joined(builds, make, [])]
        make.end.set()
        outcomes = await asyncio.gather(*waiters, return_exceptions=True)
        assert [str(outcome) for outcome in outcomes] == ["no such package"] * 2
        make.error = None
        assert await joined(builds, make, []) == ENVIRONMENT
        assert make.started == 2

    scenario(test)


def test_closing_ends_builds_with_an_error_that_says_so_and_refuses_new_ones() -> None:
    async def test(builds: SharedBuilds, make: Controlled) -> None:
        waiter = joined(builds, make, [])
        await make.begun.wait()
        await builds.close()
        with pytest.raises(BuildError, match="server stops") as ended:
            await waiter
        assert ended.value.log == "first"
        with pytest.raises(BuildError, match="server stops"):
            await joined(builds, make, [])

    scenario(test)


def test_the_tail_of_a_log_is_its_last_forty_lines() -> None:
    log = BuildLog()
    for number in range(100):
        log.add(str(number))
    assert log.tail().splitlines() == [str(number) for number in range(60, 100)]


def test_a_log_file_on_a_full_disk_does_not_end_the_build() -> None:
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("needs /dev/full (Linux)")
    log = BuildLog()
    with log.kept_in(full):
        log.add("one")
        log.add("two")
    assert log.lines == ["one", "The log file is cut short: No space left on device.", "two"]
