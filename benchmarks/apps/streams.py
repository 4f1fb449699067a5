"""Bodies of any size in both directions, and events that say when they were sent."""

from __future__ import annotations

import asyncio
import time
from typing import Any

BLOCK = b"x" * 65536


async def raw(scope: Any, receive: Any, send: Any) -> None:
    """``POST /`` answers how many bytes it got, ``GET /download/N`` sends N, ``GET /events/N/MS`` N events."""
    if scope["type"] != "http":
        raise RuntimeError("this app speaks HTTP only")
    what, *numbers = scope["path"].strip("/").split("/")
    if what == "download":
        await download(send, int(numbers[0]))
    elif what == "events":
        await events(send, int(numbers[0]), int(numbers[1]) / 1000)
    else:
        await upload(receive, send)


async def upload(receive: Any, send: Any) -> None:
    size, more = 0, True
    while more:
        message = await receive()
        size += len(message.get("body", b""))
        more = message.get("more_body", False)
    body = str(size).encode()
    await start(send, (b"content-length", str(len(body)).encode()))
    await send({"type": "http.response.body", "body": body})


async def download(send: Any, size: int) -> None:
    await start(send, (b"content-length", str(size).encode()))
    while size > len(BLOCK):
        await send({"type": "http.response.body", "body": BLOCK, "more_body": True})
        size -= len(BLOCK)
    await send({"type": "http.response.body", "body": BLOCK[:size]})


async def events(send: Any, count: int, pause: float) -> None:
    await start(send, (b"content-type", b"text/event-stream"))
    for _ in range(count):
        body = b"data: %d\n\n" % time.monotonic_ns()
        await send({"type": "http.response.body", "body": body, "more_body": True})
        await asyncio.sleep(pause)
    await send({"type": "http.response.body", "body": b""})


async def start(send: Any, header: tuple[bytes, bytes]) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [header]})
