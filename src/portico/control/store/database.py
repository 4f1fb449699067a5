"""One database, one thread: every statement runs in the store's own thread, in a short transaction."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import sqlalchemy as sa
from sqlalchemy import event, exc

from portico.control.errors import StoreError
from portico.control.store.schema import HEAD, migrate, revision

T = TypeVar("T")
Work = Callable[[sa.Connection], T]

LOCK_TIMEOUT = 10.0  # seconds another process may hold the database before we give up


class Database:
    """A database by URL, SQLite unless the URL says otherwise.

    The engine is used by one thread only, so writes never contend within the process; between processes
    SQLite's lock decides, taken at the start of a write (``BEGIN IMMEDIATE``) so that none fails half-way.
    """

    def __init__(self, url: str, *, lock_timeout: float = LOCK_TIMEOUT) -> None:
        self._lock_timeout = lock_timeout
        self._engine = sa.create_engine(url, pool_size=1, max_overflow=0)
        if self._engine.dialect.name == "sqlite":
            self._prepare_sqlite(self._engine)
        self._writing = self._engine.execution_options(portico_write=True)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="portico-store")
        self._closed = False

    async def open(self) -> None:
        """Bring the schema to this code's. Raises `StoreError`."""
        await self._submit(self._open)

    async def read(self, work: Work[T]) -> T:
        """Run `work` in a read transaction. Raises `StoreError`."""
        return await self._submit(lambda: self._transact(self._engine, work))

    async def write(self, work: Work[T]) -> T:
        """Run `work` in a write transaction; on return it is on disk. Raises `StoreError`."""
        return await self._submit(lambda: self._transact(self._writing, work))

    async def close(self) -> None:
        """Finish what was handed in and close the connection. Idempotent."""
        if self._closed:
            return
        self._closed = True
        await asyncio.get_running_loop().run_in_executor(self._thread, self._engine.dispose)
        self._thread.shutdown()

    async def _submit(self, job: Callable[[], T]) -> T:
        if self._closed:
            raise StoreError("the store is closed: the server is stopping")
        return await asyncio.get_running_loop().run_in_executor(self._thread, job)

    def _open(self) -> None:
        if self._transact(self._engine, revision) == HEAD:
            return
        # SQLite changes a table by making it anew, and for the moment between, its rows' children are
        # orphans. The setting cannot be changed inside of a transaction.
        self._enforce_foreign_keys(False)
        try:
            self._transact(self._writing, self._migrate)
        finally:
            self._enforce_foreign_keys(True)

    def _migrate(self, connection: sa.Connection) -> None:
        migrate(connection)
        if connection.dialect.name != "sqlite":
            return
        orphans = connection.exec_driver_sql("PRAGMA foreign_key_check").all()
        if orphans:
            raise StoreError(f"the database has rows that belong to nothing: {orphans[0]}")

    def _enforce_foreign_keys(self, enforced: bool) -> None:
        if self._engine.dialect.name != "sqlite":
            return
        with (
            self._engine.connect() as connection
        ):  # below SQLAlchemy, which would begin a transaction
            raw: sqlite3.Connection = connection.connection.driver_connection  # type: ignore[assignment]
            raw.execute(f"PRAGMA foreign_keys={'ON' if enforced else 'OFF'}")

    def _transact(self, engine: sa.Engine, work: Work[T]) -> T:
        try:
            with engine.begin() as connection:
                return work(connection)
        except exc.DBAPIError as error:
            raise StoreError(self._explain(error)) from error

    def _explain(self, error: exc.DBAPIError) -> str:
        place = self._engine.url.render_as_string(hide_password=True)
        cause = str(error.orig)
        if "is full" in cause:
            return f"the disk that holds {place} is full: free some space and try again"
        if "is locked" in cause:
            return (
                f"another process has held {place} for over {self._lock_timeout:g} s: "
                "stop it or wait for it to finish"
            )
        return f"the database {place} failed: {cause}"

    def _prepare_sqlite(self, engine: sa.Engine) -> None:
        timeout = int(self._lock_timeout * 1000)

        @event.listens_for(engine, "connect")
        def connected(connection: sqlite3.Connection, _record: object) -> None:
            # The driver would begin transactions by itself, and too late; `begun` does it.
            connection.isolation_level = None
            connection.execute(f"PRAGMA busy_timeout={timeout}")
            _enter_wal(connection, time.monotonic() + self._lock_timeout)
            connection.execute("PRAGMA synchronous=FULL")
            connection.execute("PRAGMA foreign_keys=ON")

        @event.listens_for(engine, "begin")
        def begun(connection: sa.Connection) -> None:
            writes = connection.get_execution_options().get("portico_write")
            connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _enter_wal(connection: sqlite3.Connection, deadline: float) -> None:
    # Changing the journal mode ignores the busy timeout while another process does the same.
    while not _try_wal(connection, last=time.monotonic() > deadline):
        time.sleep(0.02)


def _try_wal(connection: sqlite3.Connection, *, last: bool) -> bool:
    try:
        connection.execute("PRAGMA journal_mode=WAL")
    except sqlite3.OperationalError as error:
        if last or "locked" not in str(error):
            raise
        return False
    return True
