"""A FastAPI app with another one and a folder of files mounted in it.

    $ portico serve examples/fastapi_mounted.py
    $ curl "$URL/"
    {"app":"outer"}
    $ curl "$URL/api/v2/items/3"
    {"app":"inner","id":3}
    $ curl "$URL/static/motto.txt"
    Slow is smooth.
    $ curl -s -r 0-3 "$URL/static/motto.txt"
    Slow

Files that an app is to serve travel with it: `add_local_dir` puts them into the container.
"""

from pathlib import Path
from typing import Any

import portico

image = (
    portico.Image.debian_slim()
    .pip_install("fastapi[standard]")
    .add_local_dir(Path(__file__).with_name("static"), "/root/static")
)
app = portico.App("fastapi-mounted", image=image)


@app.function(allow_concurrent_inputs=100)
@portico.asgi_app()
def web() -> Any:
    from fastapi import FastAPI
    from fastapi.staticfiles import StaticFiles

    inner = FastAPI(title="Version 2")

    @inner.get("/items/{id}")
    async def item(id: int) -> dict[str, Any]:
        return {"app": "inner", "id": id}

    outer = FastAPI()

    @outer.get("/")
    async def home() -> dict[str, str]:
        return {"app": "outer"}

    outer.mount("/api/v2", inner)
    outer.mount("/static", StaticFiles(directory="static"))
    return outer
