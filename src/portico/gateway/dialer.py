"""Which connections to containers there are: dialled when they are needed, and kept while they are idle."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import math
from typing import cast

from portico.gateway.head import IDEMPOTENT
from portico.gateway.upstream import UpstreamConnection
from portico.wire.container import Address

BACKLOG_PAUSE = 0.02  # seconds until a full backlog is tried again
MAX_IDLE = 128  # connections kept open to one address; a burst's surplus is closed


class Dialer:
    """Opens connections to containers and keeps idle ones, last used first out; no more than `limit` in all."""

    def __init__(self, loop: asyncio.AbstractEventLoop, limit: int | None = None) -> None:
        self._loop = loop
        self._limit = math.inf if limit is None else limit
        self._dialling = 0
        self.open = 0
        """Connections there are, idle ones included."""
        self._idle: dict[str, list[UpstreamConnection]] = {}
        self._ticks = 0

    def take(self, address: Address, method: bytes) -> UpstreamConnection | None:
        """An idle connection to `address` for a request with `method`, if there is one.

        A server may close an idle connection at any moment. Where it could do so with a request on its way, which
        nobody may send again, such a connection is not used.
        """
        idle = self._idle.get(_key(address))
        while idle:
            connection = idle.pop()
            if connection.closing:
                continue
            # A container that reports ends keeps its connections; where it died, a unix socket takes no byte.
            if address.reports_end and address.path is not None:
                return connection
            if method in IDEMPOTENT or self._surely_open(connection):
                return connection
            connection.close()
        return None

    def _surely_open(self, connection: UpstreamConnection) -> bool:
        return self._ticks - connection.kept_at < 2 and not connection.readable()

    def tick(self) -> None:
        """Some time has passed: a clock that costs nothing to read, for connections kept for two ticks are old."""
        self._ticks += 1

    async def dial(self, address: Address) -> UpstreamConnection:
        """A new connection to `address`. Raises OSError.

        Where there are as many as may be, an idle one is closed for it, and without one it is refused.
        A unix socket whose backlog is full says so at once instead of making the caller wait, as TCP would:
        its container is busy, not gone.
        """
        if self.open + self._dialling >= self._limit:
            self._make_room()
        self._dialling += 1
        try:
            return await self._dial(address)
        finally:
            self._dialling -= 1

    async def _dial(self, address: Address) -> UpstreamConnection:
        key = _key(address)

        def make() -> asyncio.Protocol:
            return cast(asyncio.Protocol, UpstreamConnection(self, key))

        loop = self._loop
        connection: asyncio.Protocol | None = None
        if address.path is None:
            host, port = address.host or "127.0.0.1", address.port or 0
            _, connection = await loop.create_connection(make, host, port)
        while connection is None:
            with contextlib.suppress(BlockingIOError):
                _, connection = await loop.create_unix_connection(make, address.path)
            if connection is None:
                await asyncio.sleep(BACKLOG_PAUSE)
        return cast(UpstreamConnection, connection)

    def _make_room(self) -> None:
        """Close an idle connection, of whichever container. Raises OSError where there is none."""
        for idle in self._idle.values():
            if idle:
                idle.pop(0).close()
                return
        raise OSError(errno.EMFILE, f"there are {self._limit} connections to containers already")

    def keep(self, connection: UpstreamConnection) -> None:
        """Take a connection back."""
        connection.kept_at = self._ticks
        idle = self._idle.setdefault(connection.key, [])
        if len(idle) < MAX_IDLE:
            idle.append(connection)
        else:
            connection.close()

    def forget(self, connection: UpstreamConnection) -> None:
        """A connection is gone."""
        idle = self._idle.get(connection.key)
        if idle is None:
            return
        if connection in idle:
            idle.remove(connection)
        if not idle:
            del self._idle[connection.key]

    @property
    def idle(self) -> int:
        """Open connections that wait for work."""
        return sum(map(len, self._idle.values()))

    def close(self) -> None:
        """Close what is idle."""
        for idle in tuple(self._idle.values()):
            for connection in tuple(idle):
                connection.close()


def _key(address: Address) -> str:
    return address.path if address.path is not None else f"{address.host}:{address.port}"
