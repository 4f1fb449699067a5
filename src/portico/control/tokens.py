"""API tokens: an id, a dot and a secret, of which the server keeps the SHA-256."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import time

from portico.control.errors import InvalidRequestError, NotFoundError
from portico.control.store.secrets import TokenRow, TokenStore
from portico.wire.api import TokenInfo
from portico.wire.ids import new_id

SECRET_BYTES = 32
MAX_NAME = 64
TOKEN = re.compile(r"tk-[A-Za-z0-9]{1,64}\.[A-Za-z0-9_-]{1,128}")


class Tokens:
    """Issues, checks and revokes API tokens.

    Tokens that the server issues to itself (`issue_local`) live as long as its process and are not stored.
    """

    def __init__(self, store: TokenStore) -> None:
        self._store = store
        self._local: dict[str, TokenRow] = {}

    def issue_local(self, name: str) -> str:
        """A token that is valid until this process ends."""
        token_id, token = _new_token()
        self._local[token_id] = TokenRow(token_id, name, _digest(token), time.time())
        return token

    async def create(self, name: str) -> TokenInfo:
        """A stored token; the answer is the only one that has its secret."""
        if not 1 <= len(name) <= MAX_NAME or not name.isprintable():
            raise InvalidRequestError(f"a token's name has 1 to {MAX_NAME} printable characters")
        token_id, token = _new_token()
        row = TokenRow(token_id, name, _digest(token), time.time())
        await self._store.add(row)
        return TokenInfo(id=token_id, name=name, created_at=row.created_at, secret=token)

    async def all(self) -> list[TokenInfo]:
        """Valid tokens without their secrets, the server's own last."""
        rows = [*await self._store.all(), *self._local.values()]
        return [TokenInfo(id=row.id, name=row.name, created_at=row.created_at) for row in rows]

    async def revoke(self, token_id: str) -> None:
        """From now on the token is refused."""
        if self._local.pop(token_id, None) is not None:
            return
        if not await self._store.delete(token_id):
            raise NotFoundError(f"there is no token {token_id!r}: see `portico token list`")

    async def valid(self, token: str) -> bool:
        """Whether `token` may use the API. What does not look like one costs the store nothing."""
        if TOKEN.fullmatch(token) is None:
            return False
        token_id = token.partition(".")[0]
        row = self._local.get(token_id) or await self._store.find(token_id)
        return row is not None and hmac.compare_digest(_digest(token), row.sha256)


def _new_token() -> tuple[str, str]:
    token_id = new_id("tk")
    return token_id, f"{token_id}.{secrets.token_urlsafe(SECRET_BYTES)}"


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()
