"""Nothing behind the API is reached without a token."""

from __future__ import annotations

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from portico.control.api.problems import problem
from portico.control.errors import ControlError, UnauthorizedError
from portico.control.tokens import Tokens

OPEN_PATHS = frozenset({"/openapi.json", "/healthz"})


class RequireToken:
    """ASGI middleware around all routes, so that a new one cannot be left open by mistake (RFC 6750 §2.1)."""

    def __init__(self, app: ASGIApp, *, tokens: Tokens) -> None:
        self._app = app
        self._tokens = tokens

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan" or scope["path"] in OPEN_PATHS:
            await self._app(scope, receive, send)
            return
        try:
            await self._check(Headers(scope=scope).get("authorization", ""))
        except ControlError as error:
            headers = {"www-authenticate": "Bearer"} if error.status == 401 else {}
            answer = problem(error.status, error.title, error.message, headers)
            await answer(scope, receive, send)
            return
        await self._app(scope, receive, send)

    async def _check(self, authorization: str) -> None:
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise UnauthorizedError(
                "send `Authorization: Bearer <token>` (see `portico token create`)"
            )
        if not await self._tokens.valid(token.strip()):
            raise UnauthorizedError(
                "the token is unknown or revoked: make one with `portico token create`"
            )
