"""Quart: Flask's interface with coroutines, here with a page that streams.

    $ portico serve examples/asgi_quart.py
    $ curl "$URL/hello/Ada"
    Hello, Ada!
    $ curl -N "$URL/count"
    1
    2
    3

The lines come one by one, as the container writes them.
"""

from collections.abc import AsyncIterator
from typing import Any

import portico

image = portico.Image.debian_slim().pip_install("quart>=0.20,<1")
app = portico.App("asgi-quart", image=image)


@app.function(allow_concurrent_inputs=100)
@portico.asgi_app()
def web() -> Any:
    import asyncio

    from quart import Quart

    site = Quart("numbers")

    @site.get("/hello/<name>")
    async def hello(name: str) -> str:
        return f"Hello, {name}!\n"

    @site.get("/count")
    async def count() -> Any:
        async def numbers() -> AsyncIterator[str]:
            for number in range(1, 4):
                yield f"{number}\n"
                await asyncio.sleep(0.1)

        return numbers(), {"content-type": "text/plain"}

    return site
