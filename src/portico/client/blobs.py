"""Sending content-addressed blobs: only the missing ones, several at a time, streamed from files."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Union

import msgspec

from portico import exception
from portico.client.concurrently import concurrently
from portico.client.transport import Transport
from portico.wire.api import MissingBlobs

Blob = Union[Path, bytes]
Blobs = Mapping[str, Blob]

CONCURRENT_UPLOADS = 8
CHUNK = 1 << 20  # bytes
MISSING = msgspec.json.Decoder(MissingBlobs)


async def upload_missing(transport: Transport, blobs: Blobs) -> None:
    """Give the server every one of `blobs` (SHA-256 → file or bytes) that it does not have yet."""
    if not blobs:
        return
    asked = MissingBlobs(digests=list(blobs))
    missing = await transport.request("POST", "/v1/blobs/missing", MISSING, record=asked)
    free = asyncio.Semaphore(CONCURRENT_UPLOADS)

    async def upload(digest: str) -> None:
        async with free:
            await put_blob(transport, digest, blobs[digest])

    await concurrently(*(upload(digest) for digest in missing.digests if digest in blobs))


async def put_blob(transport: Transport, digest: str, blob: Blob) -> None:
    """Upload one blob. Raises `InvalidError` if a file is gone or no longer has that digest."""
    headers = {"content-type": "application/octet-stream"}
    content: bytes | AsyncIterator[bytes]
    if isinstance(blob, bytes):
        content = blob
    else:
        try:
            size = blob.stat().st_size
            content = blob.read_bytes() if size <= CHUNK else _chunks(blob, size)
        except OSError as error:
            raise exception.InvalidError(
                f"cannot read {blob}: {error.strerror}; it is part of the app"
            ) from error
        if not isinstance(content, bytes):
            headers["content-length"] = str(size)
    try:
        await transport.send(
            "PUT", f"/v1/blobs/{digest}", content=content, headers=headers, timeout=None
        )
    except exception.InvalidError as error:
        if isinstance(blob, bytes):
            raise
        raise exception.InvalidError(
            f"{blob} changed while it was being uploaded; try again ({error})"
        ) from error


async def _chunks(path: Path, size: int) -> AsyncIterator[bytes]:
    # Exactly `size` bytes: a file that grows must not overrun the announced length.
    with await asyncio.to_thread(path.open, "rb") as file:
        left = size
        while left and (data := await asyncio.to_thread(file.read, min(CHUNK, left))):
            left -= len(data)
            yield data
    if left:
        raise exception.InvalidError(
            f"{path} became shorter while it was being uploaded; try again"
        )
