"""As many endpoints as ``BENCH_ENDPOINTS`` says, of which only the first is ever asked, and has a container."""

import os
from collections.abc import Callable
from typing import Any

import hello
from recipe import image

import portico

app = portico.App("bench-many", image=image)


def endpoint(name: str) -> Callable[[], Any]:
    """A function of its own that containers find by its name."""

    def web() -> Any:
        return hello.raw

    web.__name__ = web.__qualname__ = name
    return web


for number in range(int(os.environ.get("BENCH_ENDPOINTS", "1"))):
    options = {"min_containers": 1} if number == 0 else {}
    web = portico.asgi_app()(endpoint(f"endpoint{number}"))
    globals()[f"endpoint{number}"] = app.function(
        allow_concurrent_inputs=1000, max_containers=1, **options
    )(web)
