r"""A Pydantic model in, HTML out, with one more package in the image.

    $ portico serve examples/pydantic_html.py
    $ curl --json '{"title": "Shopping", "lines": ["*apples*", "bread"]}' "$URL"
    <h1>Shopping</h1>
    <ul>
    <li><em>apples</em></li>
    <li>bread</li>
    </ul>
    $ curl -s -o /dev/null -w '%{http_code}\n' --json '{"lines": []}' "$URL"
    422

The package need not be installed here: the function imports it when it runs, in its container.
"""

from fastapi.responses import HTMLResponse
from pydantic import BaseModel

import portico

image = portico.Image.debian_slim().pip_install("fastapi[standard]", "mistune>=3")
app = portico.App("pydantic-html", image=image)


class Note(BaseModel):
    title: str
    lines: list[str] = []


@app.function()
@portico.fastapi_endpoint(method="POST")
def render(note: Note) -> HTMLResponse:
    import mistune  # type: ignore[import-not-found]

    text = "\n".join([f"# {note.title}", *(f"- {line}" for line in note.lines)])
    return HTMLResponse(mistune.html(text))
