"""Message heads: reading what matters for forwarding, and writing them anew (RFC 9110 §7.6, RFC 9112).

Heads are rebuilt, not copied: what goes to a container consists only of what was understood here.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator
from http import HTTPStatus

from portico.gateway.trace import can_be_followed
from portico.wire.container import ENDED_HEADER, INPUT_HEADER

# What a header means to the gateway. Hop-by-hop fields are never forwarded as they came.
HOP = 1
HOST = 2
CONNECTION = 3
UPGRADE = 4
CONTENT_LENGTH = 5
TRANSFER_ENCODING = 6
FORWARDED = 7
TRACEPARENT = 8
CREDENTIAL = 9
AUTHORIZATION = 10
EXPECT = 11
ENDED = 12
TRACESTATE = 13


def _with_underscores(names: Iterable[bytes]) -> Iterator[bytes]:
    """Every way to write `names` with underscores for hyphens.

    Servers that name headers as CGI does, those of WSGI above all, cannot tell them apart.
    """
    for name in names:
        first, *others = name.split(b"-")
        for signs in itertools.product((b"-", b"_"), repeat=len(others)):
            if b"_" in signs:
                yield first + b"".join(map(bytes.__add__, signs, others))


REQUEST_FIELDS: dict[bytes, int] = {
    b"host": HOST,
    b"connection": CONNECTION,
    b"upgrade": UPGRADE,
    b"content-length": CONTENT_LENGTH,
    b"transfer-encoding": TRANSFER_ENCODING,
    b"keep-alive": HOP,
    b"proxy-connection": HOP,
    b"proxy-authorization": HOP,
    b"te": HOP,
    b"trailer": HOP,
    b"x-forwarded-for": FORWARDED,
    b"x-forwarded-proto": FORWARDED,
    b"x-forwarded-host": FORWARDED,
    b"x-real-ip": FORWARDED,
    b"forwarded": FORWARDED,
    b"x-request-id": HOP,
    INPUT_HEADER: HOP,
    b"traceparent": TRACEPARENT,
    b"tracestate": TRACESTATE,
    b"modal-key": CREDENTIAL,
    b"modal-secret": CREDENTIAL,
    b"authorization": AUTHORIZATION,
    b"expect": EXPECT,
}
REQUEST_FIELDS |= dict.fromkeys(_with_underscores(REQUEST_FIELDS), HOP)
RESPONSE_FIELDS: dict[bytes, int] = {
    b"connection": CONNECTION,
    b"upgrade": UPGRADE,
    b"content-length": CONTENT_LENGTH,
    b"transfer-encoding": TRANSFER_ENCODING,
    b"keep-alive": HOP,
    b"proxy-connection": HOP,
    b"x-request-id": HOP,
    ENDED_HEADER: ENDED,
}
FORWARDED_PREFIX = b"x-forwarded-"
X = b"Xx"
HOST_FIELD = re.compile(rb"(?:[A-Za-z0-9._~!$&'()*+,;=%-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]*)?")
"""A host and an optional port, without user information (RFC 3986 §3.2.2, RFC 9110 §7.2)."""
REASON_PHRASE = re.compile(rb"[\t -~\x80-\xff]*")
BLANKS = b" \t"  # around values (RFC 9110 §5.5); the parser leaves those behind them
OTHER_PROTOCOLS = frozenset(
    b"CONNECT DESCRIBE ANNOUNCE SETUP PLAY PAUSE TEARDOWN GET_PARAMETER SET_PARAMETER REDIRECT RECORD FLUSH "
    b"SOURCE PRI".split()
)
"""Methods that the parser knows and that are not for an origin server: tunnels, RTSP, ICE, HTTP/2."""
NOT_TRAILERS = frozenset((*REQUEST_FIELDS, b"cookie", b"content-type", b"content-encoding"))
"""Fields that a receiver may act upon before the body, and so must not find behind it (RFC 9110 §6.5.1)."""
NOT_RESPONSE_TRAILERS = frozenset(
    (
        *RESPONSE_FIELDS,
        *b"set-cookie content-type content-encoding content-range cache-control expires location retry-after vary "
        b"www-authenticate proxy-authenticate date age te trailer".split(),
    )
)
"""The same, of responses."""
IDEMPOTENT = frozenset({b"GET", b"HEAD", b"OPTIONS", b"PUT", b"DELETE", b"TRACE"})
REASONS = {status.value: status.phrase.encode() for status in HTTPStatus}

ONLY_CHUNKED = "the only transfer coding understood is chunked, once"
UPGRADE_REQUIRED = 426  # names a protocol without speaking it (RFC 9110 §15.5.22)

AROUND = len(b"  HTTP/1.1\r\n\r\n")  # what a head has besides method, target and header lines

Header = tuple[bytes, bytes]


class HeadError(ValueError):
    """A head that cannot be forwarded; `status` is the answer to it."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


def _options(connection: bytes) -> set[bytes]:
    return {option.strip(BLANKS) for option in connection.split(b",")}


def _without_named(lines: list[bytes], connection: bytes) -> list[bytes]:
    """Header lines but those that the value of ``Connection``, in lower case, names (RFC 9110 §7.6.1)."""
    named = _options(connection) - {b"close", b"keep-alive", b"upgrade", b""}
    if not named:
        return lines
    return [line for line in lines if line.partition(b":")[0].lower() not in named]


class RequestHead:
    """A client's request head: what of it matters here, and the lines that pass."""

    __slots__ = (
        "authorization",
        "chunked",
        "connection",
        "content_length",
        "credentials",
        "forwarded",
        "host",
        "http_1_0",
        "keep_alive",
        "lines",
        "method",
        "request_id",
        "size",
        "target",
        "traceparent",
        "tracestate",
        "upgrade",
    )

    def __init__(self, method: bytes = b"", target: bytes = b"", *, http_1_0: bool = False) -> None:
        self.method = method
        self.target = target
        self.http_1_0 = http_1_0
        self.size = len(method) + len(target) + AROUND
        """Bytes of the request line, of all header lines and of the empty line, as a client writes them."""
        self.host: bytes | None = None
        self.lines: list[bytes] = []
        self.connection: bytes | None = None
        self.upgrade: bytes | None = None
        self.content_length: int | None = None
        self.chunked = False
        self.keep_alive = True
        self.forwarded: tuple[Header, ...] = ()
        self.credentials: tuple[Header, ...] = ()
        self.authorization: bytes | None = None
        self.traceparent: bytes | None = None
        self.tracestate = False
        self.request_id = b""

    def read(self, headers: list[Header]) -> None:
        """Take the headers, in their order. Raises `HeadError` where they contradict or cannot be forwarded."""
        lines, meaning_of = self.lines, REQUEST_FIELDS.get
        size = self.size
        for name, value in headers:
            size += len(name) + len(value) + 4
            meaning = meaning_of(name.lower())
            if meaning is None:
                # The letter x, of either case, first: it is all that the test costs for most names.
                if name[0] in X and name[:12].lower().replace(b"_", b"-") == FORWARDED_PREFIX:
                    self._take(FORWARDED, name, value)
                else:
                    lines.append(b"%b: %b\r\n" % (name, value))
            elif meaning == HOST:
                if self.host is not None:
                    raise HeadError(400, "more than one Host header")
                self.host = value.rstrip(BLANKS)
            elif meaning != HOP:
                self._take(meaning, name, value)
        self.size = size
        self._judge()

    def _take(self, meaning: int, name: bytes, value: bytes) -> None:
        """A header that means something here."""
        if meaning == CONNECTION:
            joined = value if self.connection is None else self.connection + b"," + value
            self.connection = joined.lower()
        elif meaning == CONTENT_LENGTH:
            self._content_length(value)
        elif meaning == TRANSFER_ENCODING:
            if self.chunked or value.rstrip(BLANKS).lower() != b"chunked":
                raise HeadError(400, ONLY_CHUNKED)
            self.chunked = True
        elif meaning == UPGRADE:
            self.upgrade = value.rstrip(BLANKS).lower()
        elif meaning == FORWARDED:
            self.forwarded += ((name.lower(), value),)
        elif meaning == CREDENTIAL:
            self.credentials += ((name, value),)
        else:
            if meaning == AUTHORIZATION:
                # Two of them, joined as RFC 9110 §5.3 has it, are no credentials that anybody holds.
                known = self.authorization
                self.authorization = value if known is None else known + b", " + value
            elif meaning == TRACEPARENT:
                # Two of them say nothing, since nobody can tell which one counts.
                self.traceparent = value if self.traceparent is None else b""
            elif meaning == TRACESTATE:
                self.tracestate = True
            self.lines.append(b"%b: %b\r\n" % (name, value))

    def _content_length(self, value: bytes) -> None:
        value = value.rstrip(BLANKS)
        if not value.isdigit():
            raise HeadError(400, "Content-Length is not a number")
        if self.content_length is not None:
            raise HeadError(400, "more than one Content-Length header")
        # Without zeros in front, of which there may be more than Python likes; the parser knows that it has 64 bits.
        self.content_length = int(value.lstrip(b"0") or b"0")

    def _judge(self) -> None:
        """Check the whole. Raises `HeadError`."""
        if self.host is None:
            if not self.http_1_0:
                raise HeadError(400, "no Host header")
        elif self.host and not HOST_FIELD.fullmatch(self.host):
            raise HeadError(400, "the Host header is not a host")
        if self.chunked and (self.content_length is not None or self.http_1_0):
            raise HeadError(400, "both Content-Length and Transfer-Encoding")
        if self.method in OTHER_PROTOCOLS:
            raise HeadError(501, f"the method {self.method.decode()} is not supported")
        if self.upgrade is not None and self.has_body:
            # The parser leaves HTTP at an upgrade it is offered, so such a body cannot be delimited.
            raise HeadError(400, "an upgrade cannot be offered together with a body")
        if b"#" in self.target:
            raise HeadError(400, "a request target has no fragment")
        if self.target[:1] != b"/" and (self.target != b"*" or self.method != b"OPTIONS"):
            self._absolute_form()
        if self.connection is not None:
            self.lines = _without_named(self.lines, self.connection)
        if self.traceparent is not None or self.tracestate:
            self._check_trace()

    def _absolute_form(self) -> None:
        """``GET http://host/path``: the target's authority wins over Host (RFC 9112 §3.2.2)."""
        scheme, found, rest = self.target.partition(b"://")
        if not found or scheme.lower() not in (b"http", b"https"):
            raise HeadError(400, "the request target is neither a path nor an URL")
        end = min((i for i in map(rest.find, (b"/", b"?")) if i >= 0), default=len(rest))
        self.host = rest[:end]
        if not HOST_FIELD.fullmatch(self.host):
            raise HeadError(400, "the request target's authority is not a host")
        path = rest[end:]
        self.target = path if path.startswith(b"/") else b"/" + path

    def _check_trace(self) -> None:
        """Without a trace that can be followed there is nothing that a ``tracestate`` would belong to."""
        if b"traceparent" in _options(self.connection or b""):  # which is gone by now
            self.traceparent = None
        if not can_be_followed(self.traceparent):
            self.traceparent = None
            self.lines = _without_named(self.lines, b"traceparent,tracestate")

    @property
    def has_body(self) -> bool:
        """Whether a body follows."""
        return self.chunked or bool(self.content_length)

    @property
    def websocket(self) -> bool:
        """Whether this is a WebSocket handshake (RFC 6455 §4.1). HTTP/1.0 knows no upgrades (RFC 9110 §7.8)."""
        return (
            self.upgrade == b"websocket"
            and self.method == b"GET"
            and not self.http_1_0
            and self.connection is not None
            and b"upgrade" in _options(self.connection)
        )

    @property
    def hostname(self) -> bytes:
        """Host without its port, lower case."""
        host = (self.host or b"").lower()
        if host.startswith(b"["):
            return host.partition(b"]")[0] + b"]"
        return host.partition(b":")[0].rstrip(b".")

    @property
    def query(self) -> bytes:
        """The query string, without its question mark."""
        return self.target.partition(b"?")[2]

    def encode(self, input_id: int | None, forwarding: bytes, keep_credentials: bool) -> bytes:
        """The head for a container; `forwarding` is complete header lines about the client.

        They come right behind the input's number, where the runner looks for them. Without `keep_credentials`
        the proxy token stays here: the two headers of its own, or else the `Authorization` that was it.
        """
        number = b"" if input_id is None else b"%b: %d\r\n" % (INPUT_HEADER, input_id)
        start = (self.method, self.target, number, forwarding, self.host or b"")
        lines = [b"%b %b HTTP/1.1\r\n%b%bhost: %b\r\n" % start, *self.lines]
        if keep_credentials:
            if self.credentials:
                lines += [b"%b: %b\r\n" % header for header in self.credentials]
        elif not self.credentials:
            lines = [line for line in lines if line[:14].lower() != b"authorization:"]
        if self.chunked:
            lines.append(b"transfer-encoding: chunked\r\n")
        elif self.content_length is not None:
            lines.append(b"content-length: %d\r\n" % self.content_length)
        if self.upgrade is not None and self.websocket:
            lines.append(b"connection: Upgrade\r\nupgrade: websocket\r\n")
        lines.append(b"\r\n")
        return b"".join(lines)


class ResponseHead:
    """A container's response head; `headers` are its fields as they came.

    Raises `HeadError` where it cannot be forwarded.
    """

    __slots__ = (
        "chunked",
        "content_length",
        "input_ended",
        "lines",
        "reason",
        "status",
    )

    def __init__(self, status: int, reason: bytes, headers: list[Header]) -> None:
        self.status = status
        self.reason = reason
        self.lines: list[bytes] = []
        self.content_length: bytes | None = None
        self.chunked = False
        self.input_ended: bytes | None = None
        if status < 100:
            raise HeadError(502, f"the status {status} is none")
        if reason != b"OK" and not REASON_PHRASE.fullmatch(reason):
            raise HeadError(502, "the reason phrase has control characters")
        connection = b""
        for name, value in headers:
            meaning = RESPONSE_FIELDS.get(name.lower())
            if meaning is None:
                self.lines.append(b"%b: %b\r\n" % (name, value))
            elif meaning == CONTENT_LENGTH:
                if status != 204:  # which has none (RFC 9110 §8.6)
                    self.content_length = value.rstrip(BLANKS)
            elif meaning == TRANSFER_ENCODING:
                if self.chunked or value.rstrip(BLANKS).lower() != b"chunked":
                    raise HeadError(502, ONLY_CHUNKED)
                self.chunked = True
            elif meaning == CONNECTION:
                connection += b"," + value
            elif meaning == ENDED:
                self.input_ended = value
            elif meaning == UPGRADE and status == UPGRADE_REQUIRED:
                self.lines.append(b"upgrade: %b\r\nconnection: upgrade\r\n" % value)
        if connection:
            self.lines = _without_named(self.lines, connection.lower())

    def bodiless(self, method: bytes) -> bool:
        """Whether no body follows, whatever the headers say (RFC 9110 §6.4.1)."""
        return method == b"HEAD" or self.status in (204, 304) or self.status < 200

    def encode(self, framing: bytes, extra: bytes) -> bytes:
        """The head for the client; `framing` and `extra` are complete header lines."""
        start = b"HTTP/1.1 %d %b\r\n" % (self.status, self.reason)
        return b"".join((start, *self.lines, framing, extra, b"\r\n"))


def may_trail(name: bytes) -> bool:
    """Whether a field may stand in a trailer section; what speaks of framing, routing or the client may not."""
    lower = name.lower().replace(b"_", b"-")
    return lower not in NOT_TRAILERS and not lower.startswith(FORWARDED_PREFIX)


def server_timing(phases: dict[str, float]) -> bytes:
    """A ``Server-Timing`` line; durations in milliseconds (W3C Server Timing)."""
    metrics = ", ".join(f"{name};dur={duration:.1f}" for name, duration in phases.items())
    return f"server-timing: {metrics}\r\n".encode()
