"""The store: everything that must survive a restart."""

from __future__ import annotations

from portico.control.store.apps import AppStore
from portico.control.store.database import LOCK_TIMEOUT, Database
from portico.control.store.proxy_tokens import ProxyTokenStore
from portico.control.store.secrets import SecretStore, TokenStore


class Store:
    """Apps, secrets and both kinds of tokens over one database, given by its SQLAlchemy URL."""

    def __init__(self, url: str, *, lock_timeout: float = LOCK_TIMEOUT) -> None:
        self._database = Database(url, lock_timeout=lock_timeout)
        self.apps = AppStore(self._database)
        self.secrets = SecretStore(self._database)
        self.tokens = TokenStore(self._database)
        self.proxy_tokens = ProxyTokenStore(self._database)

    async def open(self) -> None:
        """Connect and migrate. Raises `StoreError`."""
        await self._database.open()

    async def close(self) -> None:
        """Finish pending work and disconnect. Idempotent."""
        await self._database.close()
