"""A whole FastAPI app, with a hundred requests at a time in one container.

    $ portico serve examples/asgi_fastapi.py
    $ curl --json '{"any": ["JSON", 1]}' "$URL/echo"
    {"any":["JSON",1]}
    $ curl "$URL/items/7?wide=true"
    {"id":7,"wide":true}

`@portico.concurrent` goes below `@app.function`; `allow_concurrent_inputs=100` there says the same.
"""

from typing import Any

import portico

image = portico.Image.debian_slim().pip_install("fastapi[standard]")
app = portico.App("asgi-fastapi", image=image)


@app.function()
@portico.concurrent(max_inputs=100)
@portico.asgi_app()
def web() -> Any:
    from fastapi import FastAPI, Request

    api = FastAPI()

    @api.post("/echo")
    async def echo(request: Request) -> Any:
        return await request.json()

    @api.get("/items/{id}")
    async def item(id: int, wide: bool = False) -> dict[str, Any]:
        return {"id": id, "wide": wide}

    return api
