"""Connections to containers: one HTTP/1.1 exchange at a time, kept open in between."""

from __future__ import annotations

import asyncio
import os
import select
from typing import TYPE_CHECKING, Protocol

import httptools

from portico.gateway.flow import FlowControlledProtocol
from portico.gateway.head import NOT_RESPONSE_TRAILERS, Header, HeadError, ResponseHead

if TYPE_CHECKING:
    from portico.gateway.dialer import Dialer

LAST_WORDS = 256 * 1024  # bytes read at once; a socket's buffer holds about as many
MAX_UNFINISHED = 256 * 1024  # bytes of a head, trailers or extensions; they are kept or go nowhere


class ResponseReceiver(Protocol):
    """The exchange that a connection works for."""

    method: bytes
    """The request's method, which decides whether a response has a body."""

    def response_interim(self, head: ResponseHead) -> None:
        """A 1xx response came."""

    def response_head(self, head: ResponseHead) -> None:
        """The response began."""

    def response_body(self, data: bytes) -> None:
        """A piece of the response's body."""

    def response_end(self, trailers: list[Header]) -> None:
        """The response is whole."""

    def response_upgraded(self, head: ResponseHead, rest: bytes) -> None:
        """The container switched protocols (101); `rest` came right behind the head."""

    def response_flush(self) -> None:
        """Everything in hand has been told."""

    def upstream_lost(self, reason: str, *, orderly: bool = False, unread: bool = False) -> None:
        """The connection ended before the response was whole.

        Unless it ended where the container closes, which in an `orderly` way ends a response without length.
        `unread` says that the container has not read all of what was sent, and has said nothing.
        """

    def upstream_writable(self, writable: bool) -> None:
        """The container's backlog grew over, or fell under, its bound."""


class ByteReceiver(Protocol):
    """The tunnel that a connection works for after a 101."""

    def from_container(self, data: bytes) -> None:
        """Bytes came from the container."""

    def container_lost(self) -> None:
        """The container closed."""

    def container_writable(self, writable: bool) -> None:
        """As `ResponseReceiver.upstream_writable`."""


class UpstreamConnection(FlowControlledProtocol):
    """One connection to a container."""

    __slots__ = (
        "_dialer",
        "_done",
        "_fault",
        "_head",
        "_headers",
        "_keep_alive",
        "_parser",
        "_reason",
        "_unfinished",
        "kept_at",
        "key",
        "receiver",
        "tunnel",
    )

    def __init__(self, dialer: Dialer, key: str) -> None:
        super().__init__()
        self._dialer = dialer
        self.key = key
        self.kept_at = 0
        """The dialer's tick at which it was last kept."""
        self.receiver: ResponseReceiver | None = None
        self.tunnel: ByteReceiver | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._head: ResponseHead | None = None
        self._reason = b""
        self._headers: list[Header] = []  # of the head, then of the trailers
        self._unfinished = 0  # bytes since a head, a piece of a body, or an end
        self._fault = ""  # why a callback has stopped the parser
        self._done = False
        self._keep_alive = False  # whether another response may follow (RFC 9112 §9.3)

    # -- asyncio

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._dialer.open += 1

    def connection_lost(self, exc: Exception | None) -> None:
        self._dialer.open -= 1
        self._dialer.forget(self)
        orderly = exc is None
        reset = isinstance(exc, ConnectionResetError)
        if not orderly:
            # The error of a reset is told once: to whoever writes first, or else reads.
            orderly = self._read_last_words() and not reset
        # A unix socket says so where its other end was closed with something unread in it, or unaccepted.
        unread = reset and self._local and not (self._head or self._unfinished)
        tunnel, self.tunnel = self.tunnel, None
        if tunnel is not None:
            tunnel.container_lost()
        receiver, self.receiver = self.receiver, None
        if receiver is not None:
            receiver.upstream_lost(
                "the container closed the connection", orderly=orderly, unread=unread
            )

    def _read_last_words(self) -> bool:
        """Read what came before the container closed; returns whether it did so, and was not cut off.

        A container that answers early and closes breaks the writing of what it does not want to read. The loop
        then gives the connection up, with the answer unread: an early response, or why a WebSocket is closed.
        """
        descriptor = self.fileno()
        try:
            while self._expects:
                data = os.read(descriptor, LAST_WORDS)
                if not data:
                    return True
                self.data_received(data)
        except OSError:  # nothing came, or the connection was reset
            pass
        return False

    @property
    def _local(self) -> bool:
        return self.key.startswith("/")

    @property
    def _expects(self) -> bool:
        return self.tunnel is not None or self.receiver is not None

    def writable_changed(self, writable: bool) -> None:
        if self.tunnel is not None:
            self.tunnel.container_writable(writable)
        elif self.receiver is not None:
            self.receiver.upstream_writable(writable)

    def data_received(self, data: bytes) -> None:
        if self.tunnel is not None:
            self.tunnel.from_container(data)
            return
        receiver = self.receiver
        if receiver is None:  # bytes that nobody asked for
            self.close()
            return
        self._unfinished += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            if self._head is not None:
                receiver.response_upgraded(self._head, data[upgrade.args[0] :])
            return
        except httptools.HttpParserError as error:
            if not self._answers_head(receiver):
                if not self._fault and isinstance(error, httptools.HttpParserCallbackError):
                    raise  # a fault of ours
                reason = self._fault or str(error)
                self._break(receiver, f"the container's answer is not HTTP: {reason}")
                return
        if self._answers_head(receiver):
            self._done = True
            # Should the body be sent all the same, it must not be read as the answer to another request.
            self._keep_alive = False
            receiver.response_end([])
        elif self._unfinished > MAX_UNFINISHED:
            self._break(
                receiver, f"the container's answer has a head of over {MAX_UNFINISHED} bytes"
            )
            return
        receiver.response_flush()

    def _answers_head(self, receiver: ResponseReceiver) -> bool:
        """Whether a response to HEAD is over, while the parser thinks that it has a body."""
        return receiver.method == b"HEAD" and not self._done and self._answered

    @property
    def _answered(self) -> bool:
        return self._head is not None and self._head.status >= 200

    def _break(self, receiver: ResponseReceiver, reason: str) -> None:
        self.drop()
        receiver.response_flush()
        receiver.upstream_lost(reason)

    def _refused(self, fault: str) -> ValueError:
        """For a callback to raise; the parser then says no more than that one of them failed."""
        self._fault = fault
        return ValueError(fault)

    # -- parser

    def on_message_begin(self) -> None:
        if self._done:
            raise self._refused("a second response to one request")
        self._head = None
        self._reason = b""
        self._headers = []

    def on_status(self, reason: bytes) -> None:
        self._reason += reason

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers.append((name, value))

    def on_headers_complete(self) -> None:
        parser = self._parser
        status = parser.get_status_code()
        try:
            head = ResponseHead(status, self._reason, self._headers)
        except HeadError as error:
            raise self._refused(error.message) from None
        self._keep_alive = parser.should_keep_alive()
        if not self._keep_alive and parser.get_http_version() not in ("1.0", "1.1"):
            raise self._refused(f"HTTP/{parser.get_http_version()} is not spoken here")
        self._head = head
        self._headers = []
        self._unfinished = 0
        receiver = self.receiver
        if receiver is None:
            return
        if status >= 200:
            receiver.response_head(head)
        elif status != 101:
            receiver.response_interim(head)

    def on_body(self, data: bytes) -> None:
        receiver = self.receiver
        if receiver is None:
            return
        if receiver.method == b"HEAD":
            raise self._refused("a body in answer to HEAD")
        self._unfinished = 0
        receiver.response_body(data)

    def on_message_complete(self) -> None:
        if self._answered and self.receiver is not None:
            self._done = True
            self._unfinished = 0
            trailers = self._headers
            if trailers:
                trailers = [t for t in trailers if t[0].lower() not in NOT_RESPONSE_TRAILERS]
            self.receiver.response_end(trailers)

    # -- the exchange's side

    def readable(self) -> bool:
        """Whether something came, or the end: of an idle connection nothing good."""
        poll = select.poll()
        poll.register(self.fileno(), select.POLLIN)
        return bool(poll.poll(0))

    def release(self, reusable: bool) -> None:
        """The exchange is over: keep the connection for the next one, or close it."""
        if not reusable or not self._keep_alive or self.closing:
            self.drop()
            return
        self.receiver = None
        self.resume_reading()
        self._head, self._headers, self._done = None, [], False
        self._dialer.keep(self)

    def drop(self) -> None:
        """Nobody wants more of this connection: close it, whether or not the container reads what is left."""
        self.receiver = None
        self.abort()
