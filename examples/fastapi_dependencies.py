r"""FastAPI's dependencies and background tasks in a simple endpoint.

    $ portico serve examples/fastapi_dependencies.py
    $ curl -H 'X-Team: north' "$URL/?page=2"
    {"team":"north","page":2,"size":20}
    $ curl -s -o /dev/null -w '%{http_code}\n' "$URL/"
    422

What a background task prints appears in the log that `serve` shows, after the answer has gone. The request's slot is
held until the task is over.
"""

from typing import Annotated, Any

from fastapi import BackgroundTasks, Depends, Header

import portico

image = portico.Image.debian_slim().pip_install("fastapi[standard]")
app = portico.App("fastapi-dependencies", image=image)


def paging(page: int = 1, size: int = 20) -> dict[str, int]:
    return {"page": page, "size": size}


def note(team: str) -> None:
    print(f"{team} has looked")


@app.function()
@portico.fastapi_endpoint()
def look(
    page: Annotated[dict[str, int], Depends(paging)],
    x_team: Annotated[str, Header()],
    tasks: BackgroundTasks,
) -> dict[str, Any]:
    tasks.add_task(note, x_team)
    return {"team": x_team, **page}
