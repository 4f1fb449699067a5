from __future__ import annotations

import asyncio
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext

from portico.control.errors import ConflictError, StoreError
from portico.control.store import schema
from portico.control.store.schema import HEAD
from portico.control.store.secrets import SecretRow
from portico.control.store.store import Store
from portico.control.store.tables import metadata


def with_store(path: Path, work: Callable[[Store], Awaitable[None]], **options: float) -> None:
    async def main() -> None:
        store = Store(f"sqlite:///{path}", **options)
        try:
            await store.open()
            await work(store)
        finally:
            await store.close()

    asyncio.run(main())


def at_revision(path: Path, revision: str) -> None:
    """Make the database that the code of `revision` had."""
    config = Config()
    config.set_main_option("script_location", str(Path(schema.__file__).parent / "migrations"))
    engine = sa.create_engine(f"sqlite:///{path}")
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, revision)
    engine.dispose()


async def nothing(_store: Store) -> None:
    """Only open and close."""


def in_python(code: str, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments], stdout=subprocess.PIPE, text=True
    )


def test_migrations_lead_to_the_tables_of_the_code(tmp_path: Path) -> None:
    path = tmp_path / "p.db"
    with_store(path, nothing)
    engine = sa.create_engine(f"sqlite:///{path}")
    with engine.connect() as connection:
        context = MigrationContext.configure(connection)
        assert compare_metadata(context, metadata) == []
        assert context.get_current_revision() == HEAD
    engine.dispose()


def test_apps_of_an_older_database_are_in_main_with_all_that_is_theirs(tmp_path: Path) -> None:
    path = tmp_path / "p.db"
    at_revision(path, "0001")
    with sqlite3.connect(path) as old:
        old.execute("INSERT INTO apps VALUES ('ap-1', 'shop', 1, 1, 1.0, NULL)")
        old.execute("INSERT INTO versions VALUES ('ap-1', 1, 1.0, 2.0, x'6d', 2, NULL)")
        old.execute("INSERT INTO functions VALUES ('ap-1', 'f', 'fu-1')")
    old.close()

    async def work(store: Store) -> None:
        apps = store.apps
        row = await apps.find("shop")
        assert row is not None
        assert (row.id, row.environment, row.deployed, row.version) == ("ap-1", "main", True, 1)
        assert [version.manifest for version in await apps.history("ap-1")] == [b"m"]
        assert await apps.function_ids("ap-1", ["f"]) == {"f": "fu-1"}
        assert (await apps.create("ap-2", "shop", 1.0)).id == "ap-1"
        with pytest.raises(StoreError, match="FOREIGN KEY"):
            await apps.function_ids("ap-none", ["a"])

    with_store(path, work)


def test_environments_have_apps_of_one_name(tmp_path: Path) -> None:
    async def work(store: Store) -> None:
        apps = store.apps
        for app_id, environment in (("ap-1", "main"), ("ap-2", "dev"), ("ap-3", "dev")):
            made = await apps.create(app_id, "shop", 1.0, environment=environment)
            assert made.environment == environment
        assert [row.id for row in await apps.all(deployed_only=False)] == ["ap-1", "ap-2"]
        for ref, environment, found in (
            ("shop", "main", "ap-1"),
            ("shop", "dev", "ap-2"),
            ("ap-2", "main", "ap-2"),
        ):
            row = await apps.find(ref, environment)
            assert row is not None
            assert row.id == found
        assert await apps.find("shop", "other") is None
        with pytest.raises(StoreError, match="UNIQUE"):
            await store._database.write(
                lambda c: c.exec_driver_sql("UPDATE apps SET environment = 'main'")
            )

    with_store(tmp_path / "p.db", work)


def test_a_current_database_is_opened_without_alembic(tmp_path: Path) -> None:
    path = tmp_path / "p.db"
    with_store(path, nothing)
    code = """
import asyncio, sys
from portico.control.store.store import Store
async def main():
    store = Store(f"sqlite:///{sys.argv[1]}")
    await store.open()
    await store.close()
asyncio.run(main())
print("alembic" in sys.modules)
"""
    assert in_python(code, str(path)).communicate()[0] == "False\n"


def test_a_newer_schema_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "p.db"
    with_store(path, nothing)
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.close()
    with pytest.raises(StoreError, match=r"schema 9999.*upgrade Portico"):
        with_store(path, nothing)


def test_many_processes_open_an_empty_database_at_once(tmp_path: Path) -> None:
    code = """
import asyncio, sys
from portico.control.store.store import Store
async def main():
    store = Store(f"sqlite:///{sys.argv[1]}")
    await store.open()
    print((await store.apps.create(sys.argv[2], "shop", 1.0)).id)
    await store.close()
asyncio.run(main())
"""
    children = [in_python(code, str(tmp_path / "p.db"), f"ap-{n}") for n in range(4)]
    answers = {child.communicate(timeout=60)[0] for child in children}
    assert len(answers) == 1
    assert all(child.returncode == 0 for child in children)


def test_what_was_acknowledged_survives_kill_9(tmp_path: Path) -> None:
    path = tmp_path / "p.db"
    code = """
import asyncio, sys
from portico.control.store.store import Store
async def main():
    store = Store(f"sqlite:///{sys.argv[1]}")
    await store.open()
    for n in range(10**9):
        await store.apps.create(f"ap-{n}", f"app{n}", float(n))
        print(n, flush=True)
asyncio.run(main())
"""
    child = in_python(code, str(path))
    assert child.stdout is not None
    acknowledged = [int(child.stdout.readline()) for _ in range(50)]
    child.send_signal(signal.SIGKILL)
    acknowledged += [int(line) for line in child.stdout.read().split("\n")[:-1]]
    child.wait()

    async def work(store: Store) -> None:
        kept = {row.name for row in await store.apps.all(deployed_only=False)}
        assert {f"app{n}" for n in acknowledged} <= kept

    with_store(path, work)
    with sqlite3.connect(path) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()


def test_a_locked_database_is_told_and_then_works_again(tmp_path: Path) -> None:
    path = tmp_path / "p.db"

    async def work(store: Store) -> None:
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        assert await store.apps.find("shop") is None
        with pytest.raises(StoreError, match="another process has held"):
            await store.apps.create("ap-1", "shop", 1.0)
        other.execute("ROLLBACK")
        other.close()
        await store.apps.create("ap-1", "shop", 1.0)

    with_store(path, work, lock_timeout=0.1)


def test_a_full_disk_is_told_and_changes_nothing(tmp_path: Path) -> None:
    async def work(store: Store) -> None:
        await store.apps.create("ap-1", "shop", 1.0)
        # SQLite answers a page limit just as it does a full disk.
        pages = await store._database.read(
            lambda c: c.exec_driver_sql("PRAGMA page_count").scalar_one()
        )
        await store._database.read(
            lambda c: c.exec_driver_sql(f"PRAGMA max_page_count={pages}").scalar_one()
        )
        with pytest.raises(StoreError, match="is full: free some space"):
            await store.apps.draft_version(
                "ap-1", b"x" * 1_000_000, functions=1, now=1.0, rolled_back_from=None
            )
        assert await store.apps.history("ap-1") == []
        row = await store.apps.find("shop")
        assert row is not None
        assert not row.deployed

    with_store(tmp_path / "p.db", work)


def test_a_closed_store_says_so(tmp_path: Path) -> None:
    async def main() -> None:
        store = Store(f"sqlite:///{tmp_path}/p.db")
        await store.open()
        await store.close()
        await store.close()
        with pytest.raises(StoreError, match="stopping"):
            await store.apps.find("shop")

    asyncio.run(main())


def test_a_place_without_a_folder_is_told(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="unable to open"):
        with_store(tmp_path / "none" / "p.db", nothing)


def test_drafts_are_not_history_until_they_serve(tmp_path: Path) -> None:
    async def work(store: Store) -> None:
        apps = store.apps
        await apps.create("ap-1", "shop", 1.0)

        async def draft() -> int:
            return await apps.draft_version(
                "ap-1", b"m", functions=2, now=time.time(), rolled_back_from=None
            )

        assert await draft() == 1
        assert await apps.version("ap-1", 1) is None
        await apps.activate_version("ap-1", 1, 2.0)
        assert await draft() == 2
        assert await draft() == 2
        assert [row.version for row in await apps.history("ap-1")] == [1]
        row = await apps.find("ap-1")
        assert row is not None
        assert (row.deployed, row.version) == (True, 1)
        with pytest.raises(ConflictError, match="deploy again"):
            await apps.activate_version("ap-1", 7, 3.0)

    with_store(tmp_path / "p.db", work)


def test_function_ids_and_ports_are_stable(tmp_path: Path) -> None:
    async def work(store: Store) -> None:
        apps = store.apps
        await apps.create("ap-1", "shop", 1.0)
        first = await apps.function_ids("ap-1", ["a", "b"])
        second = await apps.function_ids("ap-1", ["b", "c"])
        assert second["b"] == first["b"]
        assert len({*first.values(), *second.values()}) == 3
        await apps.remember_ports({"h1": 1, "h2": 2}, replace=False)
        await apps.remember_ports({"h1": 9}, replace=False)
        await apps.remember_ports({"h2": 8}, replace=True)
        assert await apps.ports(["h1", "h2", "h3"]) == {"h1": 1, "h2": 8}

    with_store(tmp_path / "p.db", work)


def test_foreign_keys_and_durability_are_on(tmp_path: Path) -> None:
    async def work(store: Store) -> None:
        with pytest.raises(StoreError, match="FOREIGN KEY"):
            await store.apps.function_ids("ap-none", ["a"])
        for pragma, value in (("journal_mode", "wal"), ("synchronous", 2)):
            found = await store._database.read(
                lambda c, p=pragma: c.exec_driver_sql(f"PRAGMA {p}").scalar()
            )
            assert found == value

    with_store(tmp_path / "p.db", work)


def test_a_secret_is_replaced_only_when_asked(tmp_path: Path) -> None:
    async def work(store: Store) -> None:
        first = SecretRow("st-1", "db", b"1", 1.0, 1.0)
        second = SecretRow("st-2", "db", b"2", 2.0, 2.0)
        assert await store.secrets.put(first, overwrite=False) == first
        assert await store.secrets.put(second, overwrite=False) is None
        merged = await store.secrets.put(second, overwrite=True)
        assert merged == SecretRow("st-1", "db", b"2", 1.0, 2.0)
        assert await store.secrets.all() == [merged]

    with_store(tmp_path / "p.db", work)
