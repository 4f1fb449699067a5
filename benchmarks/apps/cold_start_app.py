"""Functions of three weights that start from zero containers."""

from typing import Any

import hello
from recipe import image

import portico

app = portico.App("bench-cold-start", image=image)


@app.function(allow_concurrent_inputs=1000, max_containers=1)
@portico.fastapi_endpoint()
def endpoint() -> dict[str, str]:
    return {"hello": "world"}


@app.function(allow_concurrent_inputs=1000, max_containers=1)
@portico.asgi_app()
def fastapi() -> Any:
    return hello.fastapi_app()


@app.function(allow_concurrent_inputs=1000, max_containers=1)
@portico.asgi_app()
def raw() -> Any:
    return hello.raw
