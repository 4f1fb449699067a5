"""Trailers of a response: the ASGI extension ``http.response.trailers`` (RFC 9110 §6.5), which uvicorn lacks."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from portico.runner.joining import JoiningTransport

Message = MutableMapping[str, Any]

EXTENSION = "http.response.trailers"
NAME = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")  # a token (RFC 9110 §5.6.2)
CONTROL = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")


class TrailingSend:
    """ASGI ``send`` that takes trailers where the response's start announces them.

    The end of the body waits for them then. A response with a Content-Length has no place for trailers, and goes
    without.
    """

    __slots__ = ("_announced", "_lines", "_send", "_transport")

    def __init__(
        self, send: Callable[[Message], Awaitable[None]], transport: JoiningTransport
    ) -> None:
        self._send = send
        self._transport = transport
        self._announced = False
        self._lines: list[bytes] = []

    def __call__(self, message: Message) -> Awaitable[None]:
        """Pass `message` on. What most responses are made of costs no coroutine more."""
        if self._announced or message.get("trailers"):
            return self._trailing(message)
        return self._send(message)

    async def _trailing(self, message: Message) -> None:
        kind = message["type"]
        if kind == EXTENSION:
            self._lines += [line_of(name, value) for name, value in message.get("headers", ())]
            if not message.get("more_trailers", False):
                await self._end()
        elif kind == "http.response.body":
            await self._send({**message, "more_body": True})
        else:
            self._announced = True
            await self._send(message)

    async def _end(self) -> None:
        self._announced = False
        self._transport.trailers = b"".join(self._lines)
        try:
            await self._send({"type": "http.response.body", "body": b""})
        finally:
            self._transport.trailers = b""


def line_of(name: bytes, value: bytes) -> bytes:
    """One line of the trailer section. Raises ValueError for what would be more than that."""
    if not NAME.fullmatch(name) or CONTROL.search(value):
        raise ValueError(f"{name!r}: {value!r} is no trailer")
    return b"%b: %b\r\n" % (name, value)
