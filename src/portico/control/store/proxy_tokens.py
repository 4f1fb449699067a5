"""Rows of proxy tokens."""

from __future__ import annotations

from dataclasses import dataclass

import sqlalchemy as sa

from portico.control.store.database import Database
from portico.control.store.tables import proxy_tokens


@dataclass(frozen=True, slots=True)
class ProxyTokenRow:
    """A proxy token, by the digest of its secret."""

    key: str
    name: str
    sha256: bytes
    created_at: float


class ProxyTokenStore:
    """Proxy tokens by key. Every method is one transaction and may raise `StoreError`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, row: ProxyTokenRow) -> None:
        """Keep a new token."""
        statement = proxy_tokens.insert().values(
            key=row.key, name=row.name, sha256=row.sha256, created_at=row.created_at
        )
        await self._database.write(lambda c: c.execute(statement))

    async def all(self) -> list[ProxyTokenRow]:
        """All tokens, oldest first."""
        query = sa.select(proxy_tokens).order_by(proxy_tokens.c.created_at, proxy_tokens.c.key)
        rows = await self._database.read(lambda c: c.execute(query).all())
        return [ProxyTokenRow(*row) for row in rows]

    async def delete(self, key: str) -> bool:
        """Whether there was such a token."""
        statement = proxy_tokens.delete().where(proxy_tokens.c.key == key)
        return await self._database.write(lambda c: c.execute(statement).rowcount > 0)
