"""The echo server in containers enough for 5,000 WebSockets, each of which is an input."""

from typing import Any

import echo
from recipe import image

import portico

app = portico.App("bench-idle", image=image)


@app.function(allow_concurrent_inputs=1000, min_containers=6, max_containers=6)
@portico.asgi_app()
def idle() -> Any:
    return echo.raw
