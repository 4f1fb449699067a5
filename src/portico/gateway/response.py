"""A response on its way to the client: framed for the client's HTTP, whatever framing the container chose."""

from __future__ import annotations

from portico.gateway.head import Header, RequestHead, ResponseHead, server_timing
from portico.pools.member import ColdStart


class ResponseWriter:
    """Turns the parts of one response into bytes for one client (RFC 9112 §6)."""

    __slots__ = (
        "_chunked",
        "_request",
        "begun",
        "ended",
        "pieces",
        "size",
        "status",
        "until_close",
    )

    def __init__(self, request: RequestHead) -> None:
        self._request = request
        self._chunked = False
        self.pieces: list[bytes] = []
        """Bytes that wait to be sent."""
        self.size = 0
        """Bytes that were sent."""
        self.status = 0
        """Of the response, 0 until it begins."""
        self.begun = False
        """Whether the response's head was told; interim ones do not count."""
        self.until_close = False
        """Whether the container's body ends where its connection does."""
        self.ended = False

    def interim(self, head: ResponseHead) -> None:
        """A 1xx response: the client gets it, if its HTTP knows of such (RFC 9110 §15.2)."""
        if not self._request.http_1_0:
            self.pieces.append(head.encode(b"", b""))

    def switched(self, head: ResponseHead, cold_start: ColdStart | None) -> bytes:
        """The whole answer to a WebSocket's handshake, where the container accepts it."""
        ours = b"connection: Upgrade\r\nupgrade: websocket\r\n" + self._ours(cold_start)
        return head.encode(b"", ours)

    def _ours(self, cold_start: ColdStart | None) -> bytes:
        """Header lines about the way that the request took."""
        lines = b"x-request-id: %b\r\n" % self._request.request_id
        return lines if cold_start is None else lines + server_timing(cold_start.phases)

    def head(self, head: ResponseHead, cold_start: ColdStart | None, *, keep_alive: bool) -> bool:
        """The response begins. Returns whether the connection may be kept."""
        self.begun = True
        extra = self._ours(cold_start)
        self.status = head.status
        request = self._request
        length = head.content_length
        if head.bodiless(request.method) or not (length is None or head.chunked):
            framing = b"" if length is None else b"content-length: %b\r\n" % length
        else:
            self.until_close = not head.chunked
            self._chunked = not request.http_1_0
            if self._chunked:
                framing = b"transfer-encoding: chunked\r\n"
            else:
                framing = b""
                keep_alive = False  # the body's end is the connection's
        if not keep_alive:
            extra += b"connection: close\r\n"
        elif request.http_1_0:
            extra += b"connection: keep-alive\r\n"
        self.pieces.append(head.encode(framing, extra))
        return keep_alive

    def body(self, data: bytes) -> None:
        """A piece of the body."""
        if self._chunked:
            if data:  # a chunk without data is the last one
                self.pieces += (b"%x\r\n" % len(data), data, b"\r\n")
        else:
            self.pieces.append(data)

    def end(self, trailers: list[Header]) -> None:
        """The response is whole."""
        if self._chunked:
            lines = [b"%b: %b\r\n" % trailer for trailer in trailers]
            self.pieces += (b"0\r\n", *lines, b"\r\n")
        self.ended = True

    def take(self) -> bytes:
        """What waits, to be sent now."""
        pieces = self.pieces
        data = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        pieces.clear()
        self.size += len(data)
        return data
