"""Proxy authentication: who may reach a web function that asks for it, decided before a container wakes."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping

from portico.gateway.head import RequestHead

NOBODYS = b"\0" * 32  # compared with where there is no such key: a miss takes the time of a hit


class ProxyTokens:
    """The proxy tokens of the workspace in memory, key → SHA-256 of its secret: a request looks nowhere else."""

    def __init__(self) -> None:
        self._digests: dict[bytes, bytes] = {}

    def add(self, key: str, secret_sha256: bytes) -> None:
        """Admit holders of this key and secret from now on."""
        self._digests[key.encode()] = secret_sha256

    def revoke(self, key: str) -> None:
        """Stop admitting holders of this key."""
        self._digests.pop(key.encode(), None)

    def replace(self, digests: Mapping[str, bytes]) -> None:
        """Admit holders of these keys, and nobody else."""
        self._digests = {key.encode(): digest for key, digest in digests.items()}

    def admits(self, head: RequestHead) -> bool:
        """Whether the request carries a valid pair, as ``Modal-Key``/``Modal-Secret`` or as a bearer token."""
        key, secret = _presented(head)
        expected = self._digests.get(key, NOBODYS)
        return hmac.compare_digest(hashlib.sha256(secret).digest(), expected)


def _presented(head: RequestHead) -> tuple[bytes, bytes]:
    """Key and secret as the request gives them, empty where it does not give one pair.

    Where either of the two headers is there, they are what counts: `Authorization` is the app's then. One
    that came twice does not count, since nobody can say which of them is meant.
    """
    if not head.credentials:
        scheme, _, token = (head.authorization or b"").partition(b" ")
        key, _, secret = token.strip().partition(b".")
        return (key, secret) if scheme.lower() == b"bearer" else (b"", b"")
    given = {name.lower(): value for name, value in head.credentials}
    if len(given) < len(head.credentials):
        return b"", b""
    return given.get(b"modal-key", b""), given.get(b"modal-secret", b"")
