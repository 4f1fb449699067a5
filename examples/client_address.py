"""The client's address, which the gateway passes on.

    $ portico serve examples/client_address.py
    $ curl "$URL"
    "You are 127.0.0.1"
    $ curl -H 'X-Forwarded-For: 203.0.113.7' "$URL"
    "You are 127.0.0.1"

What a client claims about itself does not count; what a proxy says does, if the server was started with
`--trusted-proxy`.
"""

from fastapi import Request

import portico

image = portico.Image.debian_slim().pip_install("fastapi[standard]")
app = portico.App("client-address", image=image)


@app.function()
@portico.fastapi_endpoint()
def who(request: Request) -> str:
    assert request.client is not None
    return f"You are {request.client.host}"
