"""Reading requests from a client's bytes: heads within their limits, bodies in pieces, and where reading must end."""

from __future__ import annotations

from typing import Protocol

import httptools

from portico.gateway.head import Header, HeadError, RequestHead
from portico.gateway.limits import Limits
from portico.gateway.problems import Refusal


class RequestSink(Protocol):
    """Told what was read, in the order of the bytes."""

    def request_begun(self, head: RequestHead) -> None:
        """A head is whole and may be forwarded."""

    def request_body(self, data: bytes) -> None:
        """A piece of the body of the request that begun last."""

    def request_ended(self, trailers: list[Header]) -> None:
        """The request that begun last is whole."""

    def request_failed(self, refusal: Refusal) -> None:
        """Nothing more can be read; `refusal` answers what was being read."""


class RequestReader:
    """One connection's requests, parsed by llhttp and judged here.

    After a failure nothing is read any more: where one message of a connection cannot be delimited, no later one
    can (RFC 9112 §2.2).
    """

    __slots__ = (
        "_headers",
        "_limits",
        "_parser",
        "_progressed",
        "_refusal",
        "_sink",
        "_target",
        "_unfinished",
        "failure",
        "in_head",
        "upgrading",
    )

    def __init__(self, sink: RequestSink, limits: Limits) -> None:
        self._sink = sink
        self._limits = limits
        self._parser = httptools.HttpRequestParser(self)
        self._target = b""
        self._headers: list[Header] = []  # of the head, then of the trailers
        self._progressed = False  # whether a read had the end of a head or message, or some body
        self._unfinished = 0  # bytes of the reads since then, which are buffered somewhere
        self._refusal: Refusal | None = None  # why a callback has stopped the parser
        self.in_head = False
        """Whether a head is in progress."""
        self.upgrading = False
        """Whether the last request asks for a WebSocket and has no answer yet; its owner says when it has one."""
        self.failure: Refusal | None = None

    def feed(self, data: bytes) -> None:
        """Parse the next bytes."""
        self._progressed = False
        rest = data
        while rest:
            rest = self._parse(rest)
        if self._progressed:
            self._unfinished = 0
            return
        # A head, trailers, chunk extensions or empty lines without end.
        self._unfinished += len(data)
        if self._unfinished > self._limits.head:
            self.fail(self._too_large())

    def _parse(self, data: bytes) -> bytes:
        """Parse `data`; returns what stands behind an offer to upgrade, with which the parser ends."""
        if self.failure is not None:
            return b""
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._parser = httptools.HttpRequestParser(self)  # the old one will not parse on
            # Any offer but that of a WebSocket is declined by silence.
            return data[upgrade.args[0] :]
        except httptools.HttpParserError as error:
            refusal = self._refusal
            if refusal is None:
                if isinstance(error, httptools.HttpParserCallbackError):
                    raise  # a fault of ours
                refusal = Refusal(400, f"the request is not valid HTTP/1.1: {error}")
            self.fail(refusal)
        return b""

    def fail(self, refusal: Refusal) -> None:
        """Read no further."""
        if self.failure is None:
            self.failure = refusal
            self._sink.request_failed(refusal)
        self.in_head = False

    def _refused(self, refusal: Refusal) -> Refusal:
        """For a callback to raise; the parser then says no more than that one of them failed."""
        self._refusal = refusal
        return refusal

    def _too_large(self) -> Refusal:
        return Refusal(431, f"request heads can be up to {self._limits.head} bytes")

    # -- parser

    def on_message_begin(self) -> None:
        if self.upgrading:
            # A client may not speak before it has its 101 (RFC 6455 §4.1).
            raise self._refused(Refusal(400, "data before the WebSocket handshake was answered"))
        self.in_head = True
        self._target = b""
        self._headers = []

    def on_url(self, url: bytes) -> None:
        self._target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        headers = self._headers
        headers.append((name, value))
        if len(headers) > self._limits.headers:
            raise self._refused(
                Refusal(431, f"request heads can have up to {self._limits.headers} headers")
            )

    def on_headers_complete(self) -> None:
        parser = self._parser
        version = parser.get_http_version()
        if version != "1.1" and version != "1.0":
            raise self._refused(Refusal(505, f"HTTP/{version} is not spoken here, HTTP/1.1 is"))
        head = RequestHead(parser.get_method(), self._target, http_1_0=version == "1.0")
        headers, self._headers = self._headers, []
        try:
            head.read(headers)
        except HeadError as error:
            raise self._refused(Refusal(error.status, error.message)) from None
        if head.size > self._limits.head:
            raise self._refused(self._too_large())
        head.keep_alive = parser.should_keep_alive()
        self.in_head = False
        self._progressed = True
        self.upgrading = head.upgrade is not None and head.websocket
        self._sink.request_begun(head)

    def on_body(self, data: bytes) -> None:
        self._progressed = True
        self._sink.request_body(data)

    def on_message_complete(self) -> None:
        self._progressed = True
        trailers, self._headers = self._headers, []
        if (
            trailers
            and sum(len(name) + len(value) + 4 for name, value in trailers) > self._limits.head
        ):
            raise self._refused(self._too_large())
        self._sink.request_ended(trailers)
