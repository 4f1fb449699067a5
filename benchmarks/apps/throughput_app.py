"""The web apps of `hello`, each in one container that never scales down."""

from typing import Any

import hello
from recipe import image

import portico

app = portico.App("bench-throughput", image=image)


@app.function(allow_concurrent_inputs=1000, min_containers=1, max_containers=1)
@portico.asgi_app()
def raw() -> Any:
    return hello.raw


@app.function(allow_concurrent_inputs=1000, min_containers=1, max_containers=1)
@portico.asgi_app()
def fastapi() -> Any:
    return hello.fastapi_app()
