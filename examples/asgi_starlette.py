r"""Any ASGI framework works: here Starlette, with state that its lifespan sets up.

    $ portico serve examples/asgi_starlette.py
    $ curl "$URL/"
    started with 3 colours
    $ curl "$URL/colours/1"
    green
    $ curl -s -o /dev/null -w '%{http_code}\n' "$URL/colours/9"
    404

The image has no FastAPI, and needs none.
"""

from typing import Any

import portico

image = portico.Image.debian_slim().pip_install("starlette")
app = portico.App("asgi-starlette")


@app.function(image=image, allow_concurrent_inputs=100)
@portico.asgi_app()
def web() -> Any:
    from contextlib import asynccontextmanager

    from starlette.applications import Starlette
    from starlette.exceptions import HTTPException
    from starlette.responses import PlainTextResponse
    from starlette.routing import Route

    @asynccontextmanager
    async def lifespan(app: Starlette) -> Any:
        yield {"colours": ["red", "green", "blue"]}

    async def home(request: Any) -> PlainTextResponse:
        return PlainTextResponse(f"started with {len(request.state.colours)} colours\n")

    async def colour(request: Any) -> PlainTextResponse:
        try:
            name = request.state.colours[request.path_params["index"]]
        except IndexError:
            raise HTTPException(404) from None
        return PlainTextResponse(f"{name}\n")

    routes = [Route("/", home), Route("/colours/{index:int}", colour)]
    return Starlette(routes=routes, lifespan=lifespan)
