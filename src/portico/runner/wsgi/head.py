"""The head of a response: what an app may say in it, and its bytes."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

STATUS = re.compile(r"[2-9][0-9]{2}(?: [^\x00-\x08\x0a-\x1f\x7f]*)?")
NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")  # a token (RFC 9110 §5.6.2)
CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
DIGITS = re.compile(r"[0-9]+")
HOP_BY_HOP = frozenset(
    (
        *(
            "connection",
            "keep-alive",
            "proxy-authenticate",
            "proxy-authorization",
            "proxy-connection",
        ),
        *("te", "trailer", "transfer-encoding", "upgrade"),
    )
)


class ResponseHead:
    """A checked head. Raises TypeError or ValueError for one that would be another head on the wire.

    Hop-by-hop headers are the server's (PEP 3333, Other HTTP Features). They are left out rather than refused:
    code for event streams often sets them, and works elsewhere.
    """

    __slots__ = ("_dated", "_lines", "_status", "bodiless", "length")

    def __init__(self, status: Any, headers: Iterable[tuple[Any, Any]]) -> None:
        if not isinstance(status, str) or not STATUS.fullmatch(status):
            raise ValueError(f"{status!r} is no status such as '200 OK'")
        self._status = status[:3]
        self.bodiless = self._status in ("204", "304")
        self.length: int | None = None
        self._dated = False
        self._lines = [f"HTTP/1.1 {status if len(status) > 3 else status + ' '}".encode("latin-1")]
        for name, value in headers:
            self._add(name, value)

    def _add(self, name: Any, value: Any) -> None:
        if not isinstance(name, str) or not isinstance(value, str):
            raise TypeError(f"a header is two strings, not {name!r} and {value!r}")
        if not NAME.fullmatch(name):
            raise ValueError(f"{name!r} is no name of a header")
        if CONTROL.search(value):
            raise ValueError(
                f"the value of the header {name} has a line break or control character"
            )
        lower = name.lower()
        if lower in HOP_BY_HOP:
            return
        if lower == "content-length":
            self._take_length(value.strip())
            return
        self._dated = self._dated or lower == "date"
        try:
            self._lines.append(f"{name}: {value}".encode("latin-1"))
        except UnicodeEncodeError:
            raise ValueError(
                f"the value of the header {name} has characters beyond latin-1: encode it first"
            ) from None

    def _take_length(self, value: str) -> None:
        if not DIGITS.fullmatch(value) or self.length not in (None, int(value)):
            raise ValueError(f"the Content-Length {value!r} is none, or differs from another")
        self.length = int(value)

    def encode(self, date: bytes, *, chunked: bool, close: bool) -> bytes:
        """The head, with the framing, without the empty line that ends it."""
        lines = self._lines
        if self.length is not None and self._status != "204":  # RFC 9110 §8.6
            lines.append(b"content-length: %d" % self.length)
        if not self._dated:
            lines.append(b"date: " + date)
        if chunked:
            lines.append(b"transfer-encoding: chunked")
        if close:
            lines.append(b"connection: close")
        lines.append(b"")
        return b"\r\n".join(lines)
