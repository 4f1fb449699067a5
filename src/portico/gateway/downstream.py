"""Connections from clients: requests are parsed here and handed to exchanges, one at a time and in order."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections import deque

from portico.gateway.exchange import NEVER, Exchange
from portico.gateway.flow import FlowControlledProtocol
from portico.gateway.forwarding import Peer
from portico.gateway.head import Header, RequestHead
from portico.gateway.ledger import CUT, DROPPED
from portico.gateway.problems import Refusal
from portico.gateway.requests import RequestReader
from portico.gateway.seams import ConnectionOwner
from portico.gateway.tunnel import Tunnel
from portico.gateway.upstream import UpstreamConnection

# A deadline that the next look at the clock sets: asking the time for each request costs more.
ARM_IDLE = -1.0
# Pipelined requests read ahead; as long as reading goes on, a client that leaves is noticed.
MAX_QUEUED = 16
SLICE = 16 * 1024  # bytes parsed before it is looked whether as many wait
LINGER = 2.0  # seconds to read and discard what a client still sends after its last answer


class ClientConnection(FlowControlledProtocol):
    """One client connection, on the shared port or on a web function's own `port`."""

    __slots__ = (
        "_advancing",
        "_client_done",
        "_current",
        "_deadline",
        "_draining",
        "_held",
        "_lingering",
        "_owner",
        "_queue",
        "_reader",
        "_receiving",
        "_tunnel",
        "_unsent",
        "peer",
        "port",
    )

    peer: Peer

    def __init__(self, owner: ConnectionOwner, port: int | None) -> None:
        super().__init__()
        self._owner = owner
        self.port = port
        self._reader = RequestReader(self, owner.limits)
        self._receiving: Exchange | None = None  # whose body is coming in
        self._current: Exchange | None = None  # whose response is going out
        self._queue: deque[Exchange] = deque()  # pipelined behind it
        self._held = b""  # what was read and waits to be parsed
        self._tunnel: Tunnel | None = None
        self._advancing = False
        self._lingering = False
        self._unsent = 0  # bytes in the transport's buffer at the last look at the clock
        self._client_done = False
        self._draining = False
        self._deadline = NEVER

    # -- asyncio

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.peer = self._owner.peer(transport)
        self._deadline = ARM_IDLE
        self._owner.connected(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._owner.disconnected(self)
        self._deadline = NEVER
        if self._tunnel is not None:
            self._tunnel.client_lost()
        for exchange in (self._current, *self._queue):
            if exchange is not None:
                exchange.abandon()
        self._current = self._receiving = None
        self._queue.clear()

    def eof_received(self) -> bool:
        self._client_done = True
        return self._awaits_last_answer

    def turn_away(self, refusal: Refusal) -> None:
        """Answer a client before it has asked: there is no place for it."""
        self._reader.fail(refusal)

    def client_left(self) -> None:
        """The client closed while nothing was read from it."""
        if not self._awaits_last_answer:
            self.transport.abort()

    @property
    def _awaits_last_answer(self) -> bool:
        # A client that announced its last request may close its side and still wait for the answer
        # (RFC 9112 §9.6); any other end is a client that left, and its input is cancelled. So is every end over
        # TLS, whose transport ends with its client.
        exchange = self._current
        return (
            exchange is not None
            and exchange.request_complete
            and not exchange.keep_alive
            and self._tunnel is None
            and not self._lingering
            and self.transport.can_write_eof()
        )

    def writable_changed(self, writable: bool) -> None:
        if self._tunnel is not None:
            self._tunnel.client_writable(writable)
        elif self._current is not None:
            self._current.client_writable(writable)

    def data_received(self, data: bytes) -> None:
        if self._tunnel is not None:
            self._tunnel.from_client(data)
            return
        if not self._lingering and self._reader.failure is None:
            self._read(data)

    def _read(self, data: bytes) -> None:
        """Parse, and hold back what comes behind as many requests as may wait: one read can bring thousands."""
        reader = self._reader
        was_in_head = reader.in_head
        while data and not self._lingering and reader.failure is None:
            reader.feed(data if len(data) <= SLICE else data[:SLICE])
            data = data[SLICE:]
            if len(self._queue) > MAX_QUEUED:
                self._held = data
                break
        if self._receiving is not None:
            self._receiving.request_flush()
        if reader.in_head and not was_in_head and self._current is None:
            # From its first bytes, however slowly the others follow.
            self._deadline = self._owner.loop.time() + self._owner.limits.head_timeout
        if self._receiving is not None or self._queue or self._paused:
            self.update_reading()

    # -- RequestSink

    def request_begun(self, head: RequestHead) -> None:
        """A head is whole and may be forwarded."""
        head.request_id = self._owner.request_id()
        if self._draining:
            head.keep_alive = False
        self._receiving = exchange = Exchange(self._owner, self, head)
        self._enqueue(exchange)

    def request_body(self, data: bytes) -> None:
        """A piece of the body of the request that begun last."""
        if self._receiving is not None:
            self._receiving.request_body(data)

    def request_ended(self, trailers: list[Header]) -> None:
        """The request that begun last is whole."""
        exchange, self._receiving = self._receiving, None
        if exchange is not None:
            exchange.request_end(trailers)
            exchange.request_flush()

    def request_failed(self, refusal: Refusal) -> None:
        """Nothing more can be read; the answer keeps its place in the queue."""
        broken, self._receiving = self._receiving, None
        if broken is None and self._reader.upgrading:
            # The handshake cannot be answered with a 101 any more.
            broken = self._queue[-1] if self._queue else self._current
        if broken is not None:
            broken.reject(refusal, begun=broken is self._current)
            return
        head = RequestHead()
        head.request_id = self._owner.request_id()
        self._enqueue(Exchange(self._owner, self, head, refusal))

    # -- exchanges, in order

    def _enqueue(self, exchange: Exchange) -> None:
        self._queue.append(exchange)
        self._advance()

    def _advance(self) -> None:
        """Begin what is next. One that is answered at once must not begin the next from inside of itself."""
        if self._advancing:
            return
        self._advancing = True
        while self._current is None and self._queue and not self._lingering:
            self._current = self._queue.popleft()
            self._current.begin()
        self._advancing = False
        if self._lingering:
            self._drop_queued()

    def exchange_over(self, keep_alive: bool) -> None:
        """The current response is complete."""
        self._current = None
        if not keep_alive:
            self._drop_queued()
            self.linger()
            return
        self._deadline = ARM_IDLE
        if self._queue:
            self._advance()
        else:
            self._reader.upgrading = False  # declined, if it was asked for
        if self._draining and self._current is None:
            self.close()
        if self._paused:
            self.update_reading()

    def _drop_queued(self) -> None:
        """What came behind the last request that is answered here (RFC 9112 §9.6)."""
        for exchange in self._queue:
            exchange.abandon(DROPPED)
        self._queue.clear()

    def update_reading(self) -> None:
        """Read on only where what comes has somewhere to go."""
        receiving = self._receiving
        if len(self._queue) > MAX_QUEUED or (receiving is not None and receiving.congested):
            self.pause_reading()
        elif self._held:
            held, self._held = self._held, b""
            self._read(held)
        else:
            self.resume_reading()

    def become(self, tunnel: Tunnel, upstream: UpstreamConnection) -> None:
        """Speak the upgraded protocol from here on."""
        self._current = None
        self._tunnel = tunnel
        self.resume_reading()
        tunnel.open(self)
        if self._held:
            tunnel.from_client(self._held)
            self._held = b""
        if self._draining:
            tunnel.shut_down()

    # -- ends

    @property
    def upgraded(self) -> bool:
        """Whether this is an open WebSocket."""
        return self._tunnel is not None and not self._lingering

    @property
    def deadline(self) -> float:
        """When something is due to have happened, on the loop's clock."""
        if self._tunnel is not None and not self._lingering:
            return self._tunnel.deadline
        if self._current is not None:
            return self._current.deadline
        return self._deadline

    def look_at_clock(self, now: float) -> None:
        """Act on what is overdue; `now` is the loop's time, in seconds."""
        deadline = self.deadline
        if not self.writable and self._busy and self._takes_more():
            # It is the client that the container waits for, and not silent.
            if self._tunnel is not None:
                self._tunnel.client_gets_on(now)
            elif self._current is not None:
                self._current.client_gets_on(now)
        elif deadline == ARM_IDLE or self._draining_buffer():
            self._deadline = now + self._patience
        elif deadline <= now:
            self._expire()

    def _draining_buffer(self) -> bool:
        """Whether an answer that is over for us is still on its way to the client, and gets on."""
        if self._busy:
            return False
        before, transport = self._unsent, self.transport
        self._unsent = self.unsent() if self._lingering else transport.get_write_buffer_size()
        return self._unsent != before

    @property
    def _busy(self) -> bool:
        """Whether there is an exchange or a WebSocket, with a deadline of its own."""
        return self._current is not None or (self._tunnel is not None and not self._lingering)

    def _takes_more(self) -> bool:
        """Whether a slow client has taken some of what is sent to it since the last look."""
        before, self._unsent = self._unsent, self.unsent(in_flight=True)
        return self._unsent != before

    @property
    def _patience(self) -> float:
        """Seconds for what is due next, where nothing is in progress."""
        limits = self._owner.limits
        if self._lingering and not self._unsent:
            return LINGER
        return limits.head_timeout if self._reader.in_head else limits.idle_timeout

    def _expire(self) -> None:
        if self._current is not None:
            self._current.expire()
        elif self._tunnel is not None and not self._lingering:
            self._tunnel.expire()
        elif self._lingering or self._unsent:
            self.transport.abort()
        elif self._reader.in_head:
            self._reader.fail(Refusal(408, "the request head took too long"))
        else:
            self.close()

    def linger(self) -> None:
        """Send what is buffered and an end, wait a moment for the client's own end, then close.

        Closing at once, with bytes of the client unread, would reset the connection and might take the answer
        with it (RFC 9112 §9.6).
        """
        if self.closing:
            return
        if self._client_done:
            self.close()
            return
        self._await_end()
        if self.transport.can_write_eof():
            self.transport.write_eof()
        else:
            super().close()

    def close(self) -> None:
        """Send what is buffered, then close."""
        # TLS ends with a word from either side, for which its transport waits longer than we do.
        if not self.closing and not self.transport.can_write_eof():
            self._await_end()
        super().close()

    def _await_end(self) -> None:
        self._lingering = True
        self._held = b""
        self._unsent = self.unsent()
        self._deadline = self._owner.loop.time() + self._patience
        self.resume_reading()

    def cut(self) -> None:
        """End the connection so that the client notices: a truncated response must not look whole."""
        if self._current is not None:
            self._current.abandon(CUT)
        self._current = None
        self._drop_queued()
        # A reset, because an orderly end would make a response without length look complete.
        connection = self.transport.get_extra_info("socket")
        if connection is not None:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.transport.abort()

    def shut_down(self) -> None:
        """No further requests: idle connections close now, busy ones after their response."""
        self._draining = True
        if self._tunnel is not None:
            self._tunnel.shut_down()
        elif self._current is None and not self._lingering:
            self.close()
        else:
            for exchange in (self._current, *self._queue):
                if exchange is not None:
                    exchange.keep_alive = False
