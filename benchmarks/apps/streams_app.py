"""The app of `streams` in one container that never scales down."""

from typing import Any

import streams
from recipe import image

import portico

app = portico.App("bench-streams", image=image)


@app.function(allow_concurrent_inputs=1000, min_containers=1, max_containers=1)
@portico.asgi_app()
def streaming() -> Any:
    return streams.raw
