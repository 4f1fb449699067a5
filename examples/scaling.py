"""Concurrency: how many requests a container takes at once, and how many containers there may be.

    $ portico serve examples/scaling.py
    $ curl -s --parallel --parallel-immediate "$URL?n=[1-20]" | sort | uniq -c
         20 one of ten at once

A container takes ten requests at a time, and there is one at most: of the twenty requests ten run, each of which
is answered when all ten are in, and ten wait for their turn. Without `max_containers` a second container would
have taken them.

`min_containers` keeps containers while nothing is asked, `scaledown_window` is how many seconds an idle one stays,
and `buffer_containers` starts some ahead of a rush.
"""

import asyncio

from fastapi.responses import PlainTextResponse

import portico

image = portico.Image.debian_slim().pip_install("fastapi[standard]")
app = portico.App("scaling", image=image)


@app.cls(max_containers=1, scaledown_window=30)
@portico.concurrent(max_inputs=10)
class Crowd:
    @portico.enter()
    async def open(self) -> None:
        self.ten = asyncio.Barrier(10)

    @portico.fastapi_endpoint()
    async def meet(self, n: int) -> PlainTextResponse:
        print(f"number {n} is in")
        await self.ten.wait()
        return PlainTextResponse("one of ten at once\n")
