"""Folders that are built once, across builders and processes."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest

from portico.images.folder import BuildFolder
from portico.images.log import BuildLog

HOLDER = """
import fcntl, os, sys
lock = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT)
fcntl.flock(lock, fcntl.LOCK_EX)
print("held", flush=True)
sys.stdin.read()
"""


class Builds:
    """Fills a folder and counts how often."""

    def __init__(self, folder: BuildFolder) -> None:
        self.folder = folder
        self.count = 0

    async def __call__(self, lock: int) -> None:
        self.count += 1
        await asyncio.sleep(0)
        self.folder.content.mkdir()
        (self.folder.content / "thing").write_text(str(self.count))


@pytest.fixture
def folder(tmp_path: Path) -> BuildFolder:
    return BuildFolder(tmp_path / "it", needs=("thing",))


def test_it_is_built_once_by_concurrent_builders(folder: BuildFolder) -> None:
    async def scenario() -> None:
        make = Builds(folder)
        # Several BuildFolder values of one path behave like several servers: only the file lock is shared.
        twins = [BuildFolder(folder.path, needs=("thing",)) for _ in range(5)]
        await asyncio.gather(*(twin.build_once(BuildLog(), make) for twin in twins))
        assert make.count == 1
        assert folder.valid()

    asyncio.run(scenario())


def test_its_folders_are_their_users_alone(tmp_path: Path) -> None:
    folder = BuildFolder(tmp_path / "im-1" / "3.12", needs=("thing",))
    former = os.umask(0o022)
    try:
        asyncio.run(folder.build_once(BuildLog(), Builds(folder)))
    finally:
        os.umask(former)
    for made in (folder.path.parent, folder.path):
        assert made.stat().st_mode & 0o777 == 0o700


def test_it_waits_for_a_builder_in_another_process(folder: BuildFolder) -> None:
    async def scenario() -> None:
        folder.path.mkdir()
        holder = subprocess.Popen(
            [sys.executable, "-c", HOLDER, str(folder.path / "lock")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        with holder:
            assert holder.stdout is not None
            assert holder.stdout.readline() == b"held\n"
            make, log = Builds(folder), BuildLog()
            waiting = asyncio.Event()
            follower = asyncio.create_task(log.follow(lambda line: waiting.set()))
            building = asyncio.create_task(folder.build_once(log, make))
            await asyncio.wait_for(waiting.wait(), 30)
            assert log.lines == ["Waiting for another build of the same environment to end."]
            assert make.count == 0
            holder.kill()
            await asyncio.wait_for(building, 30)
            assert make.count == 1
            log.close()
            await follower

    asyncio.run(scenario())


def test_who_finds_it_built_gets_the_builders_log(folder: BuildFolder) -> None:
    async def scenario() -> None:
        first, second = BuildLog(), BuildLog()

        async def make(lock: int) -> None:
            first.add("made it")
            await Builds(folder)(lock)

        await folder.build_once(first, make)
        await folder.build_once(second, make)
        assert second.lines == ["made it"]

    asyncio.run(scenario())


def test_leftovers_of_a_killed_builder_are_replaced(folder: BuildFolder) -> None:
    folder.content.mkdir(parents=True)
    (folder.content / "thing").write_text("half")
    (folder.content / "rest").write_text("half")
    assert not folder.valid()
    asyncio.run(folder.build_once(BuildLog(), Builds(folder)))
    assert folder.valid()
    assert [path.name for path in folder.content.iterdir()] == ["thing"]
    assert sorted(path.name for path in folder.path.iterdir()) == [
        "build.log",
        "built",
        "content",
        "lock",
    ]


def test_a_failed_build_leaves_its_log_and_nothing_valid(folder: BuildFolder) -> None:
    log = BuildLog()

    async def make(lock: int) -> None:
        log.add("about to fail")
        await Builds(folder)(lock)
        raise ValueError

    with pytest.raises(ValueError):
        asyncio.run(folder.build_once(log, make))
    assert not folder.valid()
    assert not folder.content.exists()
    assert folder.log_file.read_text() == "about to fail\n"


def test_content_without_what_it_needs_is_not_valid_and_is_built_again(folder: BuildFolder) -> None:
    make = Builds(folder)
    asyncio.run(folder.build_once(BuildLog(), make))
    (folder.content / "thing").unlink()
    (folder.content / "thing").symlink_to("/no/such/interpreter")
    assert not folder.valid()
    asyncio.run(folder.build_once(BuildLog(), make))
    assert folder.valid()
    assert make.count == 2
