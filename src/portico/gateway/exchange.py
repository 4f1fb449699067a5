"""One request and its response: from the parsed head to the last byte, and every way it can end before.

An exchange is over exactly once: answered by a container, answered by the gateway (`Refusal`), cut short after the
response began, or abandoned by the client. Its lease ends with it, in the way that fits.
"""

from __future__ import annotations

import asyncio
from functools import partial
from time import monotonic

from portico.gateway import problems
from portico.gateway.access_log import Facts
from portico.gateway.body import RequestBody
from portico.gateway.flow import HIGH_WATER
from portico.gateway.head import IDEMPOTENT, Header, RequestHead, ResponseHead
from portico.gateway.ledger import ABORTED, ANSWERED, CUT, UPGRADED
from portico.gateway.problems import Refusal, of_pool_error, too_large
from portico.gateway.response import ResponseWriter
from portico.gateway.seams import Client, Services
from portico.gateway.tunnel import Tunnel
from portico.gateway.upstream import UpstreamConnection
from portico.pools.endpoint import Endpoint
from portico.pools.errors import PoolError
from portico.pools.member import Lease
from portico.pools.pool import Pool
from portico.wire.container import Address

MAX_ATTEMPTS = 8  # containers that one request is offered to; all but two of them did not take it
MAX_EXECUTIONS = 2  # that may have begun, of a request that may be repeated
NEVER = float("inf")


class Exchange:
    """One request on its way through the gateway."""

    __slots__ = (
        "_attempts",
        "_body",
        "_client",
        "_executions",
        "_input_ended",
        "_lease",
        "_over",
        "_response",
        "_services",
        "_task",
        "_upstream",
        "began",
        "deadline",
        "endpoint",
        "head",
        "keep_alive",
        "method",
        "refusal",
        "request_complete",
    )

    def __init__(
        self, services: Services, client: Client, head: RequestHead, refusal: Refusal | None = None
    ) -> None:
        self.began = monotonic()
        self._services = services
        self._client = client
        self.head = head
        self.method = head.method
        self.refusal = refusal
        self.keep_alive = head.keep_alive and refusal is None
        self.request_complete = not head.has_body
        self.endpoint: Endpoint | None = None
        self.deadline = NEVER
        self._task: asyncio.Task[None] | None = None
        self._lease: Lease | None = None
        self._upstream: UpstreamConnection | None = None
        self._attempts = 0
        self._executions = 0
        self._body = RequestBody(head, services.limits) if head.has_body else None
        self._response = ResponseWriter(head)
        self._input_ended = False
        self._over = False

    # -- request, told by the client connection

    def begin(self) -> None:
        """It is this request's turn on its connection."""
        try:
            if self.refusal is not None:
                raise self.refusal
            self.endpoint = self._services.admit(self.head, self._client.port)
            limit = self._services.limits.request_body
            if (self.head.content_length or 0) > limit:
                raise too_large(limit)
            self._find_container(self.endpoint)
        except Refusal as refusal:
            self.endpoint = self.endpoint or refusal.endpoint
            self._refuse(refusal)

    def request_body(self, data: bytes) -> None:
        """A piece of the request's body came."""
        if not self._over and self._body is not None and not self._body.add(data):
            refusal = too_large(self._services.limits.request_body)
            self.reject(refusal, begun=self.endpoint is not None)

    def request_end(self, trailers: list[Header]) -> None:
        """The request is whole."""
        self.request_complete = True
        if self._body is not None:
            self._body.end(trailers)

    def request_flush(self) -> None:
        """Everything in hand has been told: send it on, if there is somewhere to send it."""
        if self._upstream is not None and self._body is not None and self._body.waiting:
            self._upstream.write(self._body.take())

    @property
    def congested(self) -> bool:
        """Whether the client should send no more for now."""
        if self._upstream is None:
            return self._body is not None and self._body.waiting > HIGH_WATER
        return not self._upstream.writable

    # -- finding a container

    def _find_container(self, endpoint: Endpoint) -> None:
        """Get a slot and a connection. Raises `Refusal`."""
        try:
            pool = endpoint.pools.for_query(self.head.query)
        except PoolError as error:
            raise of_pool_error(error, traceback=False) from None
        lease = pool.try_acquire()
        if lease is not None:
            self._connect(lease)
            return
        self._task = self._services.spawn(self._wait_for_slot(endpoint, pool))

    async def _wait_for_slot(self, endpoint: Endpoint, pool: Pool) -> None:
        try:
            lease = await pool.acquire()
        except PoolError as error:
            self._refuse(of_pool_error(error, traceback=endpoint.ephemeral))
            return
        self._task = None
        self._connect(lease)

    def _connect(self, lease: Lease) -> None:
        self._lease = lease
        self._attempts += 1
        assert self.endpoint is not None
        address = lease.address(self.endpoint.method)
        if address is None:
            self._lease = None
            lease.never_began()
            self._refuse(Refusal(404, "the app's new version has no such web function"))
            return
        # A further attempt dials: what one idle connection died of may be ahead of the others.
        dialer = self._services.dialer
        connection = dialer.take(address, self.method) if self._attempts == 1 else None
        if connection is None or not self._attach(connection, lease, address):
            self.deadline = self._services.loop.time() + self.endpoint.timeout
            self._task = self._services.spawn(self._dial(address, lease))

    async def _dial(self, address: Address, lease: Lease) -> None:
        try:
            connection = await self._services.dialer.dial(address)
        except (ConnectionError, FileNotFoundError) as error:  # nobody listens there any more
            self._task = self._lease = None
            lease.container_unreachable()
            self._try_elsewhere(f"no connection to the container: {error}")
            return
        except OSError as error:  # the fault is on this side, such as too many open files
            self._refuse(Refusal(503, f"no connection to the container: {error}", retry_after=1))
            return
        self._task = None
        if not self._attach(connection, lease, address):
            self._lease = None
            lease.never_began()
            self._try_elsewhere("the container closed the connection")

    def _attach(self, connection: UpstreamConnection, lease: Lease, address: Address) -> bool:
        """Send the request; False where the container hung up before it had taken a byte of it."""
        endpoint = self.endpoint
        assert endpoint is not None
        head = self.head.encode(
            lease.input_id if address.reports_end else None,
            self._services.forwarding_lines(self.head, self._client.peer),
            keep_credentials=not endpoint.requires_proxy_auth,
        )
        body = b"" if self._body is None else self._body.take()
        connection.write(head + body if body else head)
        if connection.closing:  # at a first write that failed, of which therefore nothing was sent
            if self._body is not None:
                self._body.put_back(body)
            return False
        connection.receiver = self
        self._upstream = connection
        self._executions += 1
        self.deadline = self._services.loop.time() + endpoint.timeout
        if not self._client.writable:
            connection.pause_reading()
        if self._body is not None:
            self._client.update_reading()
        return True

    def _try_elsewhere(self, reason: str) -> None:
        """The request reached no handler, or may be repeated: another container, or 502."""
        assert self.endpoint is not None
        self.deadline = NEVER  # the wait for a container has its own
        if self._attempts >= MAX_ATTEMPTS:
            self._refuse(Refusal(502, reason))
            return
        try:
            self._find_container(self.endpoint)
        except Refusal as refusal:
            self._refuse(refusal)

    # -- response, told by the upstream connection

    def response_interim(self, head: ResponseHead) -> None:
        """A 1xx response came: the client gets it, if its HTTP knows of such."""
        self._response.interim(head)

    def response_head(self, head: ResponseHead) -> None:
        """The response began."""
        lease = self._lease
        if head.input_ended is not None and lease is not None:
            # With its number, since an app might use the header's name for something of its own.
            self._input_ended = head.input_ended == b"%d" % lease.input_id
        if self._body is not None:
            self._body.forget()
        if not self.request_complete and head.status >= 400:
            self.keep_alive = False  # the client need not send the rest (RFC 9112 §9.5)
        cold_start = None if lease is None else lease.cold_start
        self.keep_alive = self._response.head(head, cold_start, keep_alive=self.keep_alive)

    def response_body(self, data: bytes) -> None:
        """A piece of the response's body."""
        self._response.body(data)

    def response_end(self, trailers: list[Header]) -> None:
        """The response is whole."""
        self._response.end(trailers)

    def response_flush(self) -> None:
        """Everything in hand has been told."""
        response = self._response
        if response.pieces:
            self._client.write(response.take())
        if response.ended:
            self._complete()
        elif response.begun and self.endpoint is not None:
            self.deadline = self._services.loop.time() + self.endpoint.timeout

    def response_upgraded(self, head: ResponseHead, rest: bytes) -> None:
        """The container accepted a WebSocket."""
        upstream, lease, endpoint = self._upstream, self._lease, self.endpoint
        assert upstream is not None and lease is not None and endpoint is not None  # noqa: PT018
        if not self.head.websocket:
            self.upstream_lost("the container switched protocols unasked")
            upstream.drop()
            return
        services = self._services
        self._finish(UPGRADED, 101)
        self._client.write(self._response.switched(head, lease.cold_start))
        upstream.receiver = None
        tunnel = Tunnel(upstream, lease, services.limits, endpoint.timeout, services.loop)
        if services.ledger.keeps_log:
            tunnel.on_end = partial(services.ledger.websocket_over, self)
        self._client.become(tunnel, upstream)
        if rest:
            tunnel.from_container(rest)

    def upstream_lost(self, reason: str, *, orderly: bool = False, unread: bool = False) -> None:
        """The connection ended: see `ResponseReceiver`."""
        upstream, self._upstream = self._upstream, None
        if self._over or upstream is None:
            return
        if orderly and self._response.until_close:
            self._upstream = upstream
            self.response_end([])
            self.response_flush()
            return
        if self._response.begun or self._response.pieces:
            self._cut()
            return
        if unread and self._body is None:
            self._executions -= 1  # nobody begins with half a head
        elif self._executions >= MAX_EXECUTIONS or not self._repeatable():
            self._refuse(Refusal(502, reason))
            return
        self._end_lease()
        self._try_elsewhere(reason)

    def _repeatable(self) -> bool:
        """Have the whole request ready to be sent again, where that is safe (RFC 9110 §9.2.2)."""
        if self.method not in IDEMPOTENT or not self.request_complete:
            return False
        return self._body is None or self._body.rewind()

    def upstream_writable(self, writable: bool) -> None:
        """The container's backlog grew over, or fell under, its bound."""
        self._client.update_reading()

    def client_writable(self, writable: bool) -> None:
        """The client's backlog grew over, or fell under, its bound."""
        if self._upstream is not None:
            if writable:
                self._upstream.resume_reading()
            else:
                self._upstream.pause_reading()

    def client_gets_on(self, now: float) -> None:
        """The client, for which the container waits, takes what there is, however slowly."""
        if self._response.begun and self.endpoint is not None:
            self.deadline = now + self.endpoint.timeout

    # -- ends

    def _finish(self, outcome: str, status: int) -> None:
        """This exchange has its one outcome, whatever still comes; `status` is what the client was told."""
        self._over = True
        self._services.ledger.enter(self, outcome, status)

    def _complete(self) -> None:
        """The container's response is out."""
        self._finish(ANSWERED, self._response.status)
        upstream, self._upstream = self._upstream, None
        lease, self._lease = self._lease, None
        if lease is not None:
            lease.finish(ended=self._input_ended)
        if upstream is not None:
            sent = self.request_complete and (self._body is None or not upstream.unsent())
            upstream.release(reusable=sent)
        self._client.exchange_over(self.keep_alive and self.request_complete)

    def _cut(self) -> None:
        """The response has begun and does not go on."""
        self._finish(CUT, self._response.status)
        self._release_container()
        self._client.cut()

    def _refuse(self, refusal: Refusal) -> None:
        """The gateway answers by itself, or cuts a response that has begun."""
        if self._over:
            return
        if self._response.begun or self._response.pieces:
            self._cut()
            return
        keep_alive = self.keep_alive and self.request_complete
        answer = problems.encode(
            refusal, self.head.request_id, close=not keep_alive, head_only=self.method == b"HEAD"
        )
        self._response.size = len(answer)
        self._finish(refusal.outcome, refusal.status)
        self._release_container()
        self._client.write(answer)
        self._client.exchange_over(keep_alive)

    def reject(self, refusal: Refusal, *, begun: bool) -> None:
        """The rest of the request cannot be read; `begun` says whether its turn has come."""
        self.keep_alive = False
        self.refusal = refusal
        if begun:
            self._refuse(refusal)

    def expire(self) -> None:
        """The deadline has passed."""
        assert self.endpoint is not None
        seconds = f"{self.endpoint.timeout:g} s"
        self._refuse(Refusal(504, f"the function did not answer within its timeout of {seconds}"))

    def abandon(self, outcome: str = ABORTED) -> None:
        """The client is gone, or is to get no answer."""
        if self._over:
            return
        self._finish(outcome, self._response.status)
        self._release_container()

    def _release_container(self) -> None:
        task, self._task = self._task, None
        if task is not None:
            if task is not asyncio.current_task():
                task.cancel()
            if self._lease is not None:  # there was no connection yet to send anything on
                lease, self._lease = self._lease, None
                lease.never_began()
        upstream, self._upstream = self._upstream, None
        if upstream is not None:
            upstream.drop()
        self._end_lease()

    def _end_lease(self) -> None:
        lease, self._lease = self._lease, None
        if lease is not None:
            lease.cancel(patience=max(0.0, self.deadline - self._services.loop.time()))

    def facts(self) -> Facts:
        """What the access log wants to know besides."""
        received = 0 if self._body is None else self._body.size
        return Facts(self._client.peer, self._lease, received, self._response.size)
