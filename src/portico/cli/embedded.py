"""The server of `serve` and `run`: the one that is configured or runs here, else one of their own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING

from portico.cli.server import settings_from
from portico.client.discovery import find_server
from portico.exception import InvalidError
from portico.wire.image import ImageSpec
from portico.wire.local import ServerRecord

if TYPE_CHECKING:
    from portico.server.embedded import EmbeddedServer


@contextmanager
def server_or_embedded(
    begun: Callable[[EmbeddedServer], object] | None = None,
) -> Iterator[ServerRecord]:
    """A server to use, embedded in this process where there is no other.

    `begun` is told about an embedded one while it is still coming up.
    """
    record = find_server()
    if record is not None:
        yield record
        return
    from portico.server.certificates import CertificateError
    from portico.server.embedded import EmbeddedServer

    with EmbeddedServer(settings_from({})) as server:
        if begun is not None:
            begun(server)
        try:
            server.wait_ready()
        except CertificateError as error:
            raise InvalidError(str(error)) from None
        yield ServerRecord(url=server.url, token=server.token, embedded=True)


@asynccontextmanager
async def server_or_embedded_async(
    images: Awaitable[Iterable[ImageSpec]],
) -> AsyncIterator[ServerRecord]:
    """The same without blocking the event loop while the server comes and goes.

    An embedded one gets to know the `images` it will need as soon as they are known; what they raise is
    left to whoever else awaits them.
    """
    loop = asyncio.get_running_loop()
    embedded: asyncio.Future[EmbeddedServer] = loop.create_future()
    server = server_or_embedded(lambda begun: loop.call_soon_threadsafe(embedded.set_result, begun))
    warming = asyncio.create_task(_warm(embedded, images))
    entering = asyncio.create_task(asyncio.to_thread(server.__enter__))
    try:
        yield await asyncio.shield(entering)
    finally:
        warming.cancel()
        # Cancelled or not, a server that was begun is waited for, because only then can it be ended.
        await asyncio.wait({entering})
        if entering.exception() is None:
            await asyncio.to_thread(server.__exit__, None, None, None)


async def _warm(
    embedded: Awaitable[EmbeddedServer], images: Awaitable[Iterable[ImageSpec]]
) -> None:
    (found,) = await asyncio.gather(images, return_exceptions=True)
    if not isinstance(found, BaseException):
        await asyncio.to_thread((await embedded).warm, found)
