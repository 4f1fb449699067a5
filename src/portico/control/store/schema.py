"""Brings a database to the schema of this code."""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa

from portico.control.errors import StoreError

HEAD = "0003"
"""The newest revision in `migrations/versions`: known here so that a start on a current database does not
import Alembic, which costs more than the rest of opening it."""


def revision(connection: sa.Connection) -> str | None:
    """The revision the database is at; None for an empty one."""
    if not sa.inspect(connection).has_table("alembic_version"):
        return None
    found = connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()
    return None if found is None else str(found)


def migrate(connection: sa.Connection) -> None:
    """Run what is missing up to `HEAD` in the connection's transaction.

    Raises `StoreError` for a database that a newer version of the code has migrated.
    """
    current = revision(connection)
    if current == HEAD:
        return
    from alembic import command
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.attributes["connection"] = connection
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    if current is not None and current not in known:
        raise StoreError(
            f"the database is at schema {current}, which this version of Portico (schema {HEAD}) "
            "does not know: upgrade Portico, or use another state folder"
        )
    command.upgrade(config, "head")
