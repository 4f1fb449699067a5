"""A response that is sent piece by piece, as the handler makes it.

    $ portico serve examples/streaming.py
    $ curl -N "$URL?n=3"
    1
    2
    3

The numbers arrive one by one: nothing between the function and the client waits for the whole.
"""

import asyncio
from collections.abc import AsyncIterator

from fastapi.responses import StreamingResponse

import portico

image = portico.Image.debian_slim().pip_install("fastapi[standard]")
app = portico.App("streaming", image=image)


async def count(n: int) -> AsyncIterator[str]:
    for number in range(1, n + 1):
        yield f"{number}\n"
        await asyncio.sleep(0.2)


@app.function()
@portico.fastapi_endpoint()
async def counter(n: int = 10) -> StreamingResponse:
    return StreamingResponse(count(n), media_type="text/plain")
