"""FastHTML: pages from Python, without templates.

    $ portico serve examples/asgi_fasthtml.py
    $ curl -s "$URL/" | grep -o '<h1>.*</h1>'
    <h1>Tides</h1>
    $ curl -s -H 'HX-Request: true' "$URL/tide/3"
    <li>High water 3</li>

Sessions need a key that all containers share: take it from a secret, not from the file that FastHTML would write.
"""

import os
from typing import Any

import portico

image = portico.Image.debian_slim().pip_install("python-fasthtml>=0.12,<1")
app = portico.App("asgi-fasthtml", image=image)
session = portico.Secret.from_dict({"SESSION_KEY": "change me"})


@app.function(allow_concurrent_inputs=100, secrets=[session])
@portico.asgi_app()
def web() -> Any:
    from fasthtml.common import Li, Titled, Ul, fast_app

    site, route = fast_app(secret_key=os.environ["SESSION_KEY"], live=False)

    @route("/")
    def get() -> Any:
        return Titled("Tides", Ul(*(tide(number) for number in range(2))))

    @route("/tide/{number}")
    def tide(number: int) -> Any:
        return Li(f"High water {number}")

    return site
