r"""Litestar, with validation by type.

    $ portico serve examples/asgi_litestar.py
    $ curl "$URL/lamps/2"
    {"number":2,"lit":true}
    $ curl -s -o /dev/null -w '%{http_code}\n' "$URL/lamps/two"
    404
    $ curl --json '{"number": 5, "lit": false}' "$URL/lamps"
    {"number":5,"lit":false}

A path that does not fit the types is another path: 404, as Litestar has it.
"""

from dataclasses import dataclass
from typing import Any

import portico

image = portico.Image.debian_slim().pip_install("litestar>=2.12,<3")
app = portico.App("asgi-litestar", image=image)


@dataclass
class Lamp:
    number: int
    lit: bool


@app.function(allow_concurrent_inputs=100)
@portico.asgi_app()
def web() -> Any:
    from litestar import Litestar, get, post

    @get("/lamps/{number:int}")
    async def lamp(number: int) -> Lamp:
        return Lamp(number, lit=number % 2 == 0)

    @post("/lamps")
    async def add(data: Lamp) -> Lamp:
        return data

    return Litestar([lamp, add])
