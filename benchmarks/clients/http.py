"""What clients on plain sockets know of HTTP."""

from __future__ import annotations

from urllib.parse import urlsplit


def where(url: str) -> tuple[str, int]:
    """The address of a URL."""
    parts = urlsplit(url)
    assert parts.hostname is not None
    return parts.hostname, parts.port or 80


def request_to(url: str, method: str = "GET", *fields: str) -> bytes:
    """The head of a request on a connection that stays open."""
    parts = urlsplit(url)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    lines = [f"{method} {target} HTTP/1.1", f"host: {parts.netloc}", *fields, "", ""]
    return "\r\n".join(lines).encode()
