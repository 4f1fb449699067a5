"""Rows of apps, their versions, their functions' ids and their ports."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass

import sqlalchemy as sa

from portico.control.errors import ConflictError
from portico.control.store.database import Database
from portico.control.store.tables import apps, functions, ports, versions
from portico.wire.ids import new_id
from portico.wire.names import MAIN


@dataclass(frozen=True, slots=True)
class AppRow:
    """A persistent app. `version` is the one that serves, 0 before the first deploy."""

    id: str
    name: str
    environment: str
    deployed: bool
    version: int
    created_at: float
    stopped_at: float | None


@dataclass(frozen=True, slots=True)
class VersionRow:
    """One version; `manifest` is sealed."""

    app_id: str
    version: int
    created_at: float
    activated_at: float | None
    manifest: bytes
    functions: int
    rolled_back_from: int | None


class AppStore:
    """Apps that outlive their client. Every method is one transaction and may raise `StoreError`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def create(
        self, app_id: str, name: str, now: float, *, environment: str = MAIN
    ) -> AppRow:
        """The app called `name` in `environment`, made with `app_id` where there is none."""

        def work(connection: sa.Connection) -> AppRow:
            query = sa.select(apps).where(apps.c.name == name, apps.c.environment == environment)
            found = connection.execute(query).one_or_none()
            if found is not None:
                return AppRow(*found)
            row = AppRow(app_id, name, environment, False, 0, now, None)
            connection.execute(apps.insert().values(**asdict(row)))
            return row

        return await self._database.write(work)

    async def find(self, ref: str, environment: str = MAIN) -> AppRow | None:
        """The app with `ref` as its id, else as its name in `environment`."""
        named = (apps.c.name == ref) & (apps.c.environment == environment)
        query = (
            sa.select(apps).where((apps.c.id == ref) | named).order_by((apps.c.id == ref).desc())
        )
        row = await self._database.read(lambda c: c.execute(query).first())
        return None if row is None else AppRow(*row)

    async def all(self, *, deployed_only: bool) -> list[AppRow]:
        """Apps by age, oldest first."""
        query = sa.select(apps).order_by(apps.c.created_at, apps.c.id)
        if deployed_only:
            query = query.where(apps.c.deployed)
        rows = await self._database.read(lambda c: c.execute(query).all())
        return [AppRow(*row) for row in rows]

    async def stop(self, app_id: str, now: float) -> None:
        """Mark the app stopped."""
        statement = (
            apps.update()
            .where(apps.c.id == app_id, apps.c.deployed)
            .values(deployed=False, stopped_at=now)
        )
        await self._database.write(lambda c: c.execute(statement))

    async def draft_version(
        self,
        app_id: str,
        manifest: bytes,
        *,
        functions: int,
        now: float,
        rolled_back_from: int | None,
    ) -> int:
        """Write the next version without making it current, and return its number.

        Drafts that an earlier process never activated are dropped.
        """

        def work(connection: sa.Connection) -> int:
            of_app = versions.c.app_id == app_id
            connection.execute(versions.delete().where(of_app, versions.c.activated_at.is_(None)))
            newest = connection.scalar(sa.select(sa.func.max(versions.c.version)).where(of_app))
            number = (newest or 0) + 1
            connection.execute(
                versions.insert().values(
                    app_id=app_id,
                    version=number,
                    created_at=now,
                    manifest=manifest,
                    functions=functions,
                    rolled_back_from=rolled_back_from,
                )
            )
            return number

        return await self._database.write(work)

    async def activate_version(self, app_id: str, version: int, now: float) -> None:
        """Make a drafted version the one that serves. Raises `ConflictError` where the draft is gone."""

        def work(connection: sa.Connection) -> None:
            marked = connection.execute(
                versions.update()
                .where(versions.c.app_id == app_id, versions.c.version == version)
                .values(activated_at=now)
            )
            if marked.rowcount == 0:
                raise ConflictError("another server deployed this app meanwhile: deploy again")
            connection.execute(
                apps.update()
                .where(apps.c.id == app_id)
                .values(deployed=True, version=version, stopped_at=None)
            )

        await self._database.write(work)

    async def version(self, app_id: str, version: int) -> VersionRow | None:
        """One version that has served."""
        query = sa.select(versions).where(
            versions.c.app_id == app_id,
            versions.c.version == version,
            versions.c.activated_at.is_not(None),
        )
        row = await self._database.read(lambda c: c.execute(query).one_or_none())
        return None if row is None else VersionRow(*row)

    async def history(self, app_id: str) -> list[VersionRow]:
        """Versions that have served, newest first."""
        query = (
            sa.select(versions)
            .where(versions.c.app_id == app_id, versions.c.activated_at.is_not(None))
            .order_by(versions.c.version.desc())
        )
        rows = await self._database.read(lambda c: c.execute(query).all())
        return [VersionRow(*row) for row in rows]

    async def function_ids(self, app_id: str, names: Iterable[str]) -> dict[str, str]:
        """An id for each of `names`: the one it always had, or a new one."""
        wanted = list(names)

        def work(connection: sa.Connection) -> dict[str, str]:
            query = sa.select(functions.c.name, functions.c.id).where(functions.c.app_id == app_id)
            known = {row.name: row.id for row in connection.execute(query)}
            new = {name: new_id("fu") for name in wanted if name not in known}
            if new:
                connection.execute(
                    functions.insert(),
                    [{"app_id": app_id, "name": name, "id": id} for name, id in new.items()],
                )
            known.update(new)
            return {name: known[name] for name in wanted}

        return await self._database.write(work)

    async def ports(self, hosts: Sequence[str]) -> dict[str, int]:
        """Remembered loopback ports by host."""
        query = sa.select(ports.c.host, ports.c.port).where(ports.c.host.in_(hosts))
        rows = await self._database.read(lambda c: c.execute(query).all())
        return {row.host: row.port for row in rows}

    async def remember_ports(self, chosen: dict[str, int], *, replace: bool) -> None:
        """Remember each host's port; without `replace` only of hosts that have none."""

        def work(connection: sa.Connection) -> None:
            known = set(
                connection.scalars(sa.select(ports.c.host).where(ports.c.host.in_(list(chosen))))
            )
            for host, port in chosen.items():
                if host not in known:
                    connection.execute(ports.insert().values(host=host, port=port))
                elif replace:
                    connection.execute(ports.update().where(ports.c.host == host).values(port=port))

        await self._database.write(work)
