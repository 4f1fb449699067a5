"""Proxy authentication: who may reach a web function that asks for it, decided before a container wakes."""

from __future__ import annotations

import hashlib
import hmac

from portico.gateway.head import RequestHead


class ProxyTokens:
    """The proxy tokens of the workspace: key → SHA-256 of its secret."""

    def __init__(self) -> None:
        self._digests: dict[bytes, bytes] = {}

    def add(self, key: str, secret_sha256: bytes) -> None:
        """Admit holders of this key and secret from now on."""
        self._digests[key.encode()] = secret_sha256

    def revoke(self, key: str) -> None:
        """Stop admitting holders of this key."""
        self._digests.pop(key.encode(), None)

    def admits(self, head: RequestHead) -> bool:
        """Whether the request carries a valid pair, as ``Modal-Key``/``Modal-Secret`` or as a bearer token."""
        given = {name.lower(): value for name, value in head.credentials}
        key, secret = given.get(b"modal-key", b""), given.get(b"modal-secret", b"")
        if not given and head.authorization is not None:
            scheme, _, token = head.authorization.partition(b" ")
            if scheme.lower() == b"bearer":
                key, _, secret = token.strip().partition(b".")
        expected = self._digests.get(key, b"\0" * 32)
        return hmac.compare_digest(hashlib.sha256(secret).digest(), expected)
