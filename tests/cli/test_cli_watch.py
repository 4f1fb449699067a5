from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from portico.cli.watch import Watcher, content_digest

Changes = Callable[[], Awaitable[set[str]]]


def watching(folder: Path, names: list[str], work: Callable[[Watcher, Changes], Any]) -> None:
    async def main() -> None:
        watcher = Watcher({folder / name: content_digest(folder / name) for name in names})
        found: asyncio.Queue[set[Path]] = asyncio.Queue()

        async def collect() -> None:
            async for changed in watcher.changes():
                found.put_nowait(changed)

        async def changes() -> set[str]:
            return {path.name for path in await asyncio.wait_for(found.get(), 20)}

        task = asyncio.create_task(collect())
        try:
            await work(watcher, changes)
            assert found.empty(), f"more than was asked for: {found.get_nowait()}"
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    asyncio.run(main())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "a.py").write_text("one")
    (tmp_path / "b.py").write_text("one")
    return tmp_path


def write_in_place(path: Path, text: str) -> None:
    path.write_text(text)


def rename_over(path: Path, text: str) -> None:
    draft = path.with_name(f".{path.name}.tmp")
    draft.write_text(text)
    draft.replace(path)


def keep_backup(path: Path, text: str) -> None:
    path.rename(path.with_name(f"{path.name}~"))
    path.write_text(text)


def delete_first(path: Path, text: str) -> None:
    path.unlink()
    path.write_text(text)


@pytest.mark.parametrize("save", [write_in_place, rename_over, keep_backup, delete_first])
def test_every_way_of_saving_is_one_change_each_time(
    folder: Path, save: Callable[[Path, str], None]
) -> None:
    async def work(watcher: Watcher, changes: Changes) -> None:
        for text in ("two", "three", "four"):
            save(folder / "a.py", text)
            assert await changes() == {"a.py"}

    watching(folder, ["a.py", "b.py"], work)


def test_touch_swap_files_and_unwatched_files_are_no_change(folder: Path) -> None:
    async def work(watcher: Watcher, changes: Changes) -> None:
        os.utime(folder / "a.py")
        rename_over(folder / "a.py", "one")
        (folder / ".a.py.swp").write_text("swap")
        (folder / "4913").write_text("")
        (folder / "4913").unlink()
        (folder / "c.py").write_text("not part of the app")
        # A real change comes behind all of that; that it is the only one is checked at the end.
        write_in_place(folder / "b.py", "two")
        assert await changes() == {"b.py"}

    watching(folder, ["a.py", "b.py"], work)


def test_a_file_deleted_for_good_is_a_change(folder: Path) -> None:
    async def work(watcher: Watcher, changes: Changes) -> None:
        (folder / "a.py").unlink()
        assert await changes() == {"a.py"}
        (folder / "a.py").write_text("one")
        assert await changes() == {"a.py"}

    watching(folder, ["a.py", "b.py"], work)


def test_a_folder_that_is_replaced_is_followed(folder: Path) -> None:
    package = folder / "package"
    package.mkdir()
    (package / "m.py").write_text("one")

    async def work(watcher: Watcher, changes: Changes) -> None:
        new = folder / "new"
        new.mkdir()
        (new / "m.py").write_text("two")
        shutil.rmtree(package)
        new.rename(package)
        assert await changes() == {"m.py"}
        write_in_place(package / "m.py", "three")
        assert await changes() == {"m.py"}

    watching(folder, ["package/m.py"], work)


def test_files_can_be_added_and_need_not_exist_yet(folder: Path) -> None:
    async def work(watcher: Watcher, changes: Changes) -> None:
        watcher.note([folder / "soon" / "c.py"])
        (folder / "soon").mkdir()
        (folder / "soon" / "c.py").write_text("here")
        assert await changes() == {"c.py"}

    watching(folder, ["a.py"], work)


def test_a_change_between_load_and_watch_is_found(folder: Path) -> None:
    async def work(watcher: Watcher, changes: Changes) -> None:
        watcher.watch({folder / "a.py": content_digest(folder / "b.py"), folder / "b.py": "0" * 64})
        assert await changes() == {"b.py"}

    watching(folder, ["a.py"], work)


def test_a_file_behind_a_link_is_followed(folder: Path) -> None:
    (folder / "elsewhere").mkdir()
    (folder / "elsewhere" / "real.py").write_text("one")
    (folder / "link.py").symlink_to(folder / "elsewhere" / "real.py")

    async def work(watcher: Watcher, changes: Changes) -> None:
        rename_over(folder / "elsewhere" / "real.py", "two")
        assert await changes() == {"link.py"}

    watching(folder, ["link.py"], work)
