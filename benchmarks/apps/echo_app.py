"""The echo server in one container that never scales down."""

from typing import Any

import echo
from recipe import image

import portico

app = portico.App("bench-echo", image=image)


@app.function(allow_concurrent_inputs=1000, min_containers=1, max_containers=1)
@portico.asgi_app()
def echoed() -> Any:
    return echo.raw
