"""What exchanges and client connections need of each other and of the gateway around them."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, Protocol

from portico.gateway.dialer import Dialer
from portico.gateway.forwarding import Peer
from portico.gateway.head import RequestHead
from portico.gateway.ledger import Ledger
from portico.gateway.limits import Limits
from portico.gateway.tunnel import Tunnel
from portico.gateway.upstream import UpstreamConnection
from portico.pools.endpoint import Endpoint

if TYPE_CHECKING:
    from portico.gateway.downstream import ClientConnection


class Services(Protocol):
    """What exchanges need of the gateway."""

    loop: asyncio.AbstractEventLoop
    limits: Limits
    dialer: Dialer
    ledger: Ledger

    def admit(self, head: RequestHead, port: int | None) -> Endpoint:
        """The endpoint a request may go to. Raises `Refusal`."""

    def forwarding_lines(self, head: RequestHead, peer: Peer) -> bytes:
        """Header lines that tell a container about the client."""

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run a task that the gateway owns."""


class Client(Protocol):
    """The downstream connection, as an exchange uses it."""

    peer: Peer
    port: int | None
    writable: bool

    def write(self, data: bytes) -> None:
        """Send to the client."""

    def update_reading(self) -> None:
        """Whether to read from the client may have changed."""

    def exchange_over(self, keep_alive: bool) -> None:
        """The current response is complete."""

    def cut(self) -> None:
        """End the connection so that the client notices."""

    def become(self, tunnel: Tunnel, upstream: UpstreamConnection) -> None:
        """Speak the upgraded protocol from here on."""


class ConnectionOwner(Services, Protocol):
    """The gateway, as its client connections see it."""

    def connected(self, connection: ClientConnection) -> None:
        """A client connected."""

    def disconnected(self, connection: ClientConnection) -> None:
        """A client is gone."""

    def peer(self, transport: asyncio.BaseTransport) -> Peer:
        """Who is at the other end of a client's connection."""

    def request_id(self) -> bytes:
        """An id for a new request."""
