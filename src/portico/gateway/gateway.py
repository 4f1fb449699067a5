"""The data plane as one part: listeners, routes, and the connections between clients and containers."""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import select
import socket
import ssl
from collections.abc import Coroutine, Iterable, Mapping
from time import monotonic
from typing import Any, cast

from portico.gateway.auth import ProxyTokens
from portico.gateway.dialer import Dialer
from portico.gateway.downstream import ClientConnection
from portico.gateway.forwarding import Forwarding, Peer
from portico.gateway.head import RequestHead
from portico.gateway.ledger import Ledger
from portico.gateway.limits import Limits, TokenBucket
from portico.gateway.problems import Refusal
from portico.gateway.router import Router
from portico.pools.endpoint import Endpoint
from portico.pools.tally import Durations

# The former is Linux's, and sees half-closes too.
HANGUP = getattr(select, "POLLRDHUP", select.POLLHUP)
NO_TOKEN = (
    "this web function asks for a proxy token: send its key and secret as Modal-Key and Modal-Secret, or as "
    "Authorization: Bearer <key>.<secret>; `portico proxy-token create` makes one"
)
SWEEP = 0.5  # seconds between looks at one connection's deadline
SLICE = 500  # connections looked at in one go
BACKLOG = 4096
LAG_BOUNDS = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)  # seconds
TOLD = 1 / 64  # connections beyond the bound, in parts of it, that are there while they are told so


class Gateway:
    """Takes requests on the shared address and on loopback ports of single web functions."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        *,
        limits: Limits,
        forwarding: Forwarding,
        bucket: TokenBucket,
        proxy_tokens: ProxyTokens,
        ledger: Ledger | None = None,
    ) -> None:
        self.loop = loop
        self.limits = limits
        self.ledger = ledger or Ledger()
        self.lag = Durations(LAG_BOUNDS)
        """How late the event loop is, looked at with every sweep."""
        self.dialer = Dialer(loop, limits.upstream_connections)
        self.router = Router()
        self._forwarding = forwarding
        self._bucket = bucket
        self._proxy_tokens = proxy_tokens
        self._connections: set[ClientConnection] = set()
        self._closing = False
        self._most = math.inf if limits.connections is None else limits.connections
        self._quiet = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._listeners: dict[int | None, asyncio.Server] = {}
        self._sweeper: asyncio.TimerHandle | None = None
        self._unseen: list[ClientConnection] = []  # those that this sweep has still to look at
        self._pause = SWEEP
        self._sweep_due = 0.0

    # -- life

    async def listen(self, host: str, port: int, tls: ssl.SSLContext | None = None) -> int:
        """Take requests on the shared address, over TLS if `tls` is given; `port` 0 means any.

        Returns the port. Raises OSError.
        """
        try:
            server = await self.loop.create_server(
                lambda: self._client(None),
                host,
                port,
                backlog=BACKLOG,
                ssl=tls,
                ssl_handshake_timeout=self.limits.head_timeout if tls else None,
                ssl_shutdown_timeout=self.limits.idle_timeout if tls else None,
            )
        except OSError as error:
            # The loop's own message is a sentence around the address in its internal form.
            reason = os.strerror(error.errno) if error.errno else str(error)
            raise OSError(error.errno, f"cannot listen on {host}:{port}: {reason}") from None
        self._listeners[None] = server
        self._sweep()
        bound: int = server.sockets[0].getsockname()[1]
        return bound

    async def open_port(self, preferred: int | None) -> int:
        """Bind a loopback port for one web function: the preferred one, or any. Raises OSError.

        It stays bound until the gateway closes, and answers 404 while nothing is routed to it: the URL of a
        stopped app says so, and comes back with the app.
        """
        if preferred is not None:
            if preferred in self._listeners and self.router.of_port(preferred) is None:
                return preferred
            try:
                return await self._listen_own(preferred)
            except OSError:
                pass  # somebody else's by now: any other one
        return await self._listen_own(0)

    async def _listen_own(self, port: int) -> int:
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(("127.0.0.1", port))
            own: int = listener.getsockname()[1]
            self._listeners[own] = await self.loop.create_server(
                lambda: self._client(own), sock=listener, backlog=BACKLOG
            )
        except BaseException:
            listener.close()
            raise
        return own

    def _client(self, port: int | None) -> asyncio.Protocol:
        return cast(asyncio.Protocol, ClientConnection(self, port))

    async def close(self, grace: float) -> None:
        """Stop listening, let running exchanges end for `grace` seconds, then cut the rest."""
        self._closing = True
        for server in self._listeners.values():
            server.close()
        self._listeners.clear()
        for connection in tuple(self._connections):
            connection.shut_down()
        if self._connections:
            self._quiet.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._quiet.wait(), grace)
        for connection in tuple(self._connections):
            connection.cut()
        if self._sweeper is not None:
            self._sweeper.cancel()
        self.dialer.close()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def publish(
        self, app_id: str, hosts: Mapping[str, Endpoint], ports: Mapping[int, Endpoint]
    ) -> None:
        """Replace an app's routes in one step."""
        self.router.publish(app_id, hosts, ports)

    def withdraw(self, app_id: str) -> None:
        """Remove an app's routes."""
        self.router.withdraw(app_id)

    def _sweep(self) -> None:
        """One timer for all deadlines: setting one for each request would cost more than the look.

        It looks at a few connections at a time, so that no request waits for the look at ten thousand.
        """
        if self._sweeper is not None:
            self.lag.add(max(0.0, monotonic() - self._sweep_due))
        if not self._unseen:
            self.dialer.tick()
            self._unseen = list(self._connections)
            self._pause = SWEEP / max(1, math.ceil(len(self._unseen) / SLICE))
        # The next look first: a fault in this one must not be the end of all deadlines.
        self._sweep_due = monotonic() + self._pause
        self._sweeper = self.loop.call_later(self._pause, self._sweep)
        seen = self._unseen[-SLICE:]
        del self._unseen[-SLICE:]
        now = self.loop.time()
        for connection in seen:
            connection.look_at_clock(now)
        _look_for_hangups(seen)

    # -- for connections and exchanges

    def connected(self, connection: ClientConnection) -> None:
        """A client connected."""
        self._connections.add(connection)
        if self._closing:  # the handshake of its TLS began before that
            connection.abort()
        elif len(self._connections) > self._most:
            self._turn_away(connection)

    def _turn_away(self, connection: ClientConnection) -> None:
        """Say why there is no place for this client; where too many are being told, say nothing."""
        if len(self._connections) > self._most + max(1, int(self._most * TOLD)):
            connection.abort()
            return
        reason = f"the server has {self._most} connections, and may not have more (max_connections)"
        connection.turn_away(Refusal(503, reason, outcome="too_many_connections", retry_after=1))

    def disconnected(self, connection: ClientConnection) -> None:
        """A client is gone."""
        self._connections.discard(connection)
        if not self._connections:
            self._quiet.set()

    def request_id(self) -> bytes:
        """An id for a new request."""
        return self._forwarding.request_id()

    def peer(self, transport: asyncio.BaseTransport) -> Peer:
        """Who is at the other end of a client's connection."""
        # With something to return in its place: uvloop raises for a connection that is over already.
        name = transport.get_extra_info("peername", "")
        secure = transport.get_extra_info("ssl_object") is not None
        return self._forwarding.peer(name, secure=secure)

    def forwarding_lines(self, head: RequestHead, peer: Peer) -> bytes:
        """Header lines that tell a container about the client."""
        return self._forwarding.lines(head, peer)

    def admit(self, head: RequestHead, port: int | None) -> Endpoint:
        """The endpoint a request may go to. Raises `Refusal`."""
        router = self.router
        endpoint = router.of_host(head.hostname) if port is None else router.of_port(port)
        if endpoint is None:
            name = head.hostname.decode("latin-1")
            raise Refusal(404, f"no web function is served at {name!r}")
        # Before the rate limit: strangers must not use up what the holders of tokens share.
        if endpoint.requires_proxy_auth and not self._proxy_tokens.admits(head):
            raise Refusal(401, NO_TOKEN, endpoint=endpoint, extra=b"www-authenticate: Bearer\r\n")
        if not self._bucket.take():
            raise Refusal(
                429,
                "the workspace's rate limit is reached",
                endpoint=endpoint,
                retry_after=self._bucket.retry_after,
            )
        return endpoint

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run a task that the gateway owns."""
        task = self.loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    @property
    def connections(self) -> int:
        """Open client connections."""
        return len(self._connections)

    @property
    def websockets(self) -> int:
        """Those of them that are WebSockets; counted anew, since nothing on a request's way should count them."""
        return sum(connection.upgraded for connection in self._connections)


def _look_for_hangups(connections: Iterable[ClientConnection]) -> None:
    """Notice clients that left while nothing is read from them: the loop does not watch those sockets."""
    paused = {c.fileno(): c for c in connections if c.paused}
    if not paused:
        return
    poll = select.poll()
    for descriptor in paused:
        poll.register(descriptor, HANGUP)
    for descriptor, _ in poll.poll(0):
        paused[descriptor].client_left()
