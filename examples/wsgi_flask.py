"""A Flask app, with a thread for each of a thousand requests at once.

    $ portico serve examples/wsgi_flask.py
    $ curl --json '{"any": ["JSON", 1]}' "$URL/echo"
    {"any":["JSON",1]}
    $ curl "$URL/address"
    127.0.0.1

Flask is in the image only: the function imports it.
"""

from typing import Any

import portico

image = portico.Image.debian_slim().pip_install("flask")
app = portico.App("wsgi-flask", image=image)


@app.function(allow_concurrent_inputs=1000)
@portico.wsgi_app()
def web() -> Any:
    from flask import Flask, request

    site = Flask(__name__)

    @site.post("/echo")
    def echo() -> Any:
        return request.json

    @site.get("/address")
    def address() -> str:
        return f"{request.remote_addr}\n"

    return site
