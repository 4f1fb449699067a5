"""What follows a 101: bytes both ways, with an eye on WebSocket frame boundaries."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from typing import NamedTuple, Protocol

from portico.gateway.frames import FrameTracker, MessageTooBig, close_frame
from portico.gateway.limits import Limits
from portico.gateway.upstream import UpstreamConnection
from portico.pools.member import Lease

SERVICE_RESTART = 1012  # IANA WebSocket close codes, beyond RFC 6455 §7.4
GOING_AWAY = 1001
TOO_BIG = 1009
CLOSE_PATIENCE = 5.0  # seconds for a frame in progress to end
HANDLER_PATIENCE = 10.0  # seconds a handler has to end by itself once its connection is gone


class Closing(NamedTuple):
    """Why the gateway closes a connection (RFC 6455 §7.4)."""

    code: int
    reason: str


class TunnelClient(Protocol):
    """The downstream connection, as a tunnel uses it."""

    writable: bool

    def write(self, data: bytes) -> None:
        """Send to the client."""

    def pause_reading(self) -> None:
        """Stop reading from the client."""

    def resume_reading(self) -> None:
        """Read on."""

    def linger(self) -> None:
        """Send what is buffered and an end, wait a moment for the client's own end, then close."""

    def cut(self) -> None:
        """End the connection so that the client notices."""


class Tunnel:
    """One WebSocket connection between a client and a container; one input for its whole life."""

    __slots__ = (
        "_client",
        "_closing",
        "_from_client",
        "_from_container",
        "_lease",
        "_limit",
        "_loop",
        "_over",
        "_silence",
        "_upstream",
        "deadline",
        "on_end",
    )

    def __init__(
        self,
        upstream: UpstreamConnection,
        lease: Lease,
        limits: Limits,
        silence: float,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self._upstream = upstream
        self._lease = lease
        self._silence = silence
        self._loop = loop
        self._limit = limits.websocket_message
        self._from_client = FrameTracker(self._limit)
        self._from_container = FrameTracker(self._limit)
        self._closing: Closing | None = None
        self._over = False
        self._client: TunnelClient | None = None
        self.deadline = loop.time() + silence
        self.on_end: Callable[[], None] | None = None
        """Called once, when the connection is over."""

    def open(self, client: TunnelClient) -> None:
        """Both sides speak the new protocol now."""
        self._client = client
        self._upstream.tunnel = self
        self._lease.on_retire = self.retire
        self.client_writable(client.writable)
        if self._lease.retiring:
            self.retire()

    # -- bytes

    def from_client(self, data: bytes) -> None:
        """Bytes came from the client."""
        if self._over or self._closing is not None:
            return
        self.deadline = self._loop.time() + self._silence
        try:
            data = self._from_client.feed(data)
        except MessageTooBig as error:
            self._upstream.write(error.before)
            self._close(self._too_big)
            return
        self._upstream.write(data)

    def from_container(self, data: bytes) -> None:
        """Bytes came from the container."""
        if self._over or self._client is None:
            return
        if self._closing is not None:
            self._client.write(self._from_container.rest_of_frame(data))
            self._close_at_boundary(self._closing)
            return
        self.deadline = self._loop.time() + self._silence
        try:
            data = self._from_container.feed(data)
        except MessageTooBig as error:
            self._client.write(error.before)
            self._close(self._too_big)
            return
        self._client.write(data)

    @property
    def _too_big(self) -> Closing:
        return Closing(TOO_BIG, f"messages can be up to {self._limit} bytes")

    def client_writable(self, writable: bool) -> None:
        """The client's backlog grew over, or fell under, its bound."""
        if writable or self._over:
            self._upstream.resume_reading()
        else:
            self._upstream.pause_reading()

    def client_gets_on(self, now: float) -> None:
        """The client, for which the container waits, takes what there is, however slowly."""
        if self._closing is None and not self._over:
            self.deadline = now + self._silence

    def container_writable(self, writable: bool) -> None:
        """The container's backlog grew over, or fell under, its bound."""
        if self._client is None:
            return
        if writable or self._over:
            self._client.resume_reading()
        else:
            self._client.pause_reading()

    # -- ends

    def retire(self) -> None:
        """The container is to go: the client should connect again."""
        self._close(Closing(SERVICE_RESTART, "this container is stopping, connect again"))

    def shut_down(self) -> None:
        """The gateway is to go."""
        self._close(Closing(GOING_AWAY, "the server is shutting down"))

    def _close(self, closing: Closing) -> None:
        """Close as soon as no frame is in progress towards the client."""
        if self._over or self._closing is not None:
            return
        self._closing = closing
        self.deadline = self._loop.time() + CLOSE_PATIENCE
        self._close_at_boundary(closing)

    def _close_at_boundary(self, closing: Closing) -> None:
        client = self._client
        if client is None or not self._from_container.at_boundary:
            return
        if not self._from_container.closed:
            client.write(close_frame(closing.code, closing.reason))
        # A frame of the client's in progress will not come to its end: the handler then sees an abnormal one.
        answering = self._from_client.at_boundary
        if answering and not self._from_client.closed:
            self._upstream.write(close_frame(closing.code, closing.reason, mask=os.urandom(4)))
        self._end(answering=answering)
        client.linger()

    def client_lost(self) -> None:
        """The client is gone."""
        self._end()

    def container_lost(self) -> None:
        """The container closed: so does the client's connection, after what is buffered."""
        if self._over:
            return
        self._end()
        if self._client is not None:
            self._client.linger()

    def expire(self) -> None:
        """Nothing was said for too long, or a frame in progress did not end."""
        if self._closing is None:
            self._close(Closing(GOING_AWAY, f"nothing was said for {self._silence:g} s"))
        elif self._client is not None:
            self._end()
            self._client.cut()

    def _end(self, *, answering: bool = False) -> None:
        """The connection is over; a container that is `answering` a close frame is the one to hang up.

        Hanging up on a container that still sends might take the close frame with it (RFC 6455 §7.1.1).
        """
        if self._over:
            return
        self._over = True
        self.deadline = float("inf")
        if answering:
            self._upstream.resume_reading()  # and nothing of it is passed on
        else:
            self._upstream.close()
        on_end, self.on_end = self.on_end, None
        if on_end is not None:
            on_end()
        self._lease.finish()
        self._loop.call_later(HANDLER_PATIENCE, self._give_up)

    def _give_up(self) -> None:
        """The handler has had its time; what it did not read by now it will not read."""
        self._lease.cancel()
        self._upstream.abort()
