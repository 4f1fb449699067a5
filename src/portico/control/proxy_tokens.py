"""Proxy tokens: pairs of a key and a secret that web functions with `requires_proxy_auth` ask for.

The store has the SHA-256 of the secrets; what requests are compared with is the gate's copy in memory.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
from collections.abc import Mapping
from typing import Protocol

from portico.control.errors import InvalidRequestError, NotFoundError, StoreError
from portico.control.store.proxy_tokens import ProxyTokenRow, ProxyTokenStore
from portico.wire.api import ProxyTokenInfo
from portico.wire.ids import new_id

logger = logging.getLogger(__name__)

MAX_NAME = 64
LOOK_INTERVAL = 0.5  # seconds between looks at what other servers have written


class ProxyGate(Protocol):
    """What lets holders of proxy tokens in. Each change counts from the next request on."""

    def add(self, key: str, secret_sha256: bytes) -> None:
        """Admit holders of this key and secret."""

    def revoke(self, key: str) -> None:
        """Stop admitting holders of this key."""

    def replace(self, digests: Mapping[str, bytes]) -> None:
        """Admit holders of these keys (with the SHA-256 of their secrets), and nobody else."""


class ProxyTokens:
    """Issues and revokes proxy tokens, and keeps the gate at what the store says."""

    def __init__(self, store: ProxyTokenStore, gate: ProxyGate) -> None:
        self._store = store
        self._gate = gate
        # Held from reading or writing the store to telling the gate: a look that began before a change must
        # not undo it.
        self._lock = asyncio.Lock()
        self._following: asyncio.Task[None] | None = None

    async def load(self) -> None:
        """Have the gate admit the holders of what is stored. Raises `StoreError`."""
        async with self._lock:
            rows = await self._store.all()
            self._gate.replace({row.key: row.sha256 for row in rows})

    def follow(self, interval: float = LOOK_INTERVAL) -> None:
        """From now on `load` again every `interval` seconds: another server writes to the same store."""
        self._following = asyncio.create_task(self._follow(interval))

    async def create(self, name: str) -> ProxyTokenInfo:
        """A token that is good from now on; the answer is the only one that has its secret."""
        if len(name) > MAX_NAME or not name.isprintable():
            raise InvalidRequestError(
                f"a proxy token's name has at most {MAX_NAME} characters, printable ones"
            )
        key, secret = new_id("wk"), new_id("ws")
        row = ProxyTokenRow(key, name, hashlib.sha256(secret.encode()).digest(), time.time())
        async with self._lock:
            await self._store.add(row)
            self._gate.add(key, row.sha256)
        return ProxyTokenInfo(key=key, name=name, created_at=row.created_at, secret=secret)

    async def all(self) -> list[ProxyTokenInfo]:
        """Valid tokens without their secrets, oldest first."""
        return [
            ProxyTokenInfo(key=row.key, name=row.name, created_at=row.created_at)
            for row in await self._store.all()
        ]

    async def revoke(self, key: str) -> None:
        """From now on requests with the token are refused; those that run, and open WebSockets, go on."""
        async with self._lock:
            known = await self._store.delete(key)
            self._gate.revoke(key)
        if not known:
            raise NotFoundError(f"there is no proxy token {key!r}: see `portico proxy-token list`")

    async def close(self) -> None:
        """Look no more. Idempotent."""
        task, self._following = self._following, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _follow(self, interval: float) -> None:
        while True:
            await asyncio.sleep(interval)
            try:
                await self.load()
            except StoreError as error:
                logger.warning("proxy tokens cannot be read: %s", error.message)
