"""What follows a 101: bytes both ways, with an eye on WebSocket frame boundaries."""

from __future__ import annotations

import asyncio
import os
from typing import Protocol

from portico.gateway.frames import FrameTracker, MessageTooBig, close_frame
from portico.gateway.limits import Limits
from portico.gateway.upstream import UpstreamConnection
from portico.pools.member import Lease

SERVICE_RESTART = 1012  # IANA WebSocket close codes, beyond RFC 6455 §7.4
GOING_AWAY = 1001
TOO_BIG = 1009
CLOSE_PATIENCE = 5.0  # seconds for a frame in progress to end, and for the client to answer a close
HANDLER_PATIENCE = 10.0  # seconds a handler has to end by itself once its connection is gone


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
        "_close_code",
        "_from_client",
        "_from_container",
        "_lease",
        "_loop",
        "_over",
        "_silence",
        "_upstream",
        "deadline",
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
        self._from_client = FrameTracker(limits.websocket_message)
        self._from_container = FrameTracker(limits.websocket_message)
        self._close_code: int | None = None
        self._over = False
        self._client: TunnelClient | None = None
        self.deadline = loop.time() + silence

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
        if self._over or self._close_code is not None:
            return
        self.deadline = self._loop.time() + self._silence
        try:
            self._from_client.feed(data)
        except MessageTooBig as error:
            self._upstream.write(data[: error.offset])
            self.close(TOO_BIG)
            return
        self._upstream.write(data)

    def from_container(self, data: bytes) -> None:
        """Bytes came from the container."""
        if self._over or self._client is None:
            return
        self.deadline = self._loop.time() + self._silence
        try:
            self._from_container.feed(data)
        except MessageTooBig as error:
            self._client.write(data[: error.offset])
            self.close(TOO_BIG)
            return
        self._client.write(data)
        if self._close_code is not None:
            self._close_at_boundary(self._close_code)

    def client_writable(self, writable: bool) -> None:
        """The client's backlog grew over, or fell under, its bound."""
        if writable:
            self._upstream.resume_reading()
        else:
            self._upstream.pause_reading()

    def container_writable(self, writable: bool) -> None:
        """The container's backlog grew over, or fell under, its bound."""
        if self._client is None:
            return
        if writable:
            self._client.resume_reading()
        else:
            self._client.pause_reading()

    # -- ends

    def retire(self) -> None:
        """The container is to go: the client should connect again."""
        self.close(SERVICE_RESTART)

    def close(self, code: int) -> None:
        """Close with `code` as soon as no frame is in progress towards the client."""
        if self._over or self._close_code is not None:
            return
        self._close_code = code
        self.deadline = self._loop.time() + CLOSE_PATIENCE
        self._close_at_boundary(code)

    def _close_at_boundary(self, code: int) -> None:
        if code != TOO_BIG and not self._from_container.at_boundary:
            return
        client = self._client
        if client is None:
            return
        if self._from_container.at_boundary and not self._from_container.closed:
            client.write(close_frame(code))
        if self._from_client.at_boundary and not self._from_client.closed:
            self._upstream.write(close_frame(code, mask=os.urandom(4)))
        self._end()
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
        if self._close_code is None:
            self.close(GOING_AWAY)
        elif self._client is not None:
            self._end()
            self._client.cut()

    def _end(self) -> None:
        if self._over:
            return
        self._over = True
        self.deadline = float("inf")
        self._upstream.tunnel = None
        self._upstream.close()
        self._lease.finish()
        self._loop.call_later(HANDLER_PATIENCE, self._lease.cancel)
