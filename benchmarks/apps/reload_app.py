"""A script whose VERSION is edited while `portico serve` follows it."""

from recipe import image

import portico

VERSION = 0

app = portico.App("bench-reload", image=image)


@app.function(allow_concurrent_inputs=1000)
@portico.fastapi_endpoint()
def version() -> int:
    return VERSION
