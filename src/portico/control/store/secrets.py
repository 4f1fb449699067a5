"""Rows of secrets and API tokens."""

from __future__ import annotations

from dataclasses import dataclass

import sqlalchemy as sa

from portico.control.store.database import Database
from portico.control.store.tables import secrets, tokens


@dataclass(frozen=True, slots=True)
class SecretRow:
    """A secret; `payload` is sealed."""

    id: str
    name: str
    payload: bytes
    created_at: float
    updated_at: float


@dataclass(frozen=True, slots=True)
class TokenRow:
    """An API token, by the digest of its secret."""

    id: str
    name: str
    sha256: bytes
    created_at: float


class SecretStore:
    """Secrets by name. Every method is one transaction and may raise `StoreError`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def all(self) -> list[SecretRow]:
        """All secrets, by name."""
        query = sa.select(secrets).order_by(secrets.c.name)
        rows = await self._database.read(lambda c: c.execute(query).all())
        return [SecretRow(*row) for row in rows]

    async def put(self, row: SecretRow, *, overwrite: bool) -> SecretRow | None:
        """Write `row`; an existing one keeps its id and creation time. None where it may not be replaced."""

        def work(connection: sa.Connection) -> SecretRow | None:
            query = sa.select(secrets).where(secrets.c.name == row.name)
            found = connection.execute(query).one_or_none()
            if found is None:
                connection.execute(
                    secrets.insert().values(
                        id=row.id,
                        name=row.name,
                        payload=row.payload,
                        created_at=row.created_at,
                        updated_at=row.updated_at,
                    )
                )
                return row
            if not overwrite:
                return None
            connection.execute(
                secrets.update()
                .where(secrets.c.name == row.name)
                .values(payload=row.payload, updated_at=row.updated_at)
            )
            return SecretRow(found.id, row.name, row.payload, found.created_at, row.updated_at)

        return await self._database.write(work)

    async def delete(self, name: str) -> bool:
        """Whether there was such a secret."""
        statement = secrets.delete().where(secrets.c.name == name)
        return await self._database.write(lambda c: c.execute(statement).rowcount > 0)


class TokenStore:
    """API tokens by id. Every method is one transaction and may raise `StoreError`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, row: TokenRow) -> None:
        """Keep a new token."""
        statement = tokens.insert().values(
            id=row.id, name=row.name, sha256=row.sha256, created_at=row.created_at
        )
        await self._database.write(lambda c: c.execute(statement))

    async def find(self, token_id: str) -> TokenRow | None:
        """The token of that id."""
        query = sa.select(tokens).where(tokens.c.id == token_id)
        row = await self._database.read(lambda c: c.execute(query).one_or_none())
        return None if row is None else TokenRow(*row)

    async def all(self) -> list[TokenRow]:
        """All tokens, oldest first."""
        query = sa.select(tokens).order_by(tokens.c.created_at, tokens.c.id)
        rows = await self._database.read(lambda c: c.execute(query).all())
        return [TokenRow(*row) for row in rows]

    async def delete(self, token_id: str) -> bool:
        """Whether there was such a token."""
        statement = tokens.delete().where(tokens.c.id == token_id)
        return await self._database.write(lambda c: c.execute(statement).rowcount > 0)
