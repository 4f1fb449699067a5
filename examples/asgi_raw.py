"""An ASGI app without a framework: a callable of three arguments.

    $ portico serve examples/asgi_raw.py
    $ curl "$URL/anything%20at?all"
    GET /anything%20at?all
    $ curl -d 'some words' "$URL/"
    POST / with 10 bytes

The image is empty: the server in the container is not part of it.
"""

from typing import Any

import portico

app = portico.App("asgi-raw")


@app.function(allow_concurrent_inputs=1000)
@portico.asgi_app()
def web() -> Any:
    async def answer(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            raise NotImplementedError(scope["type"])  # such as the lifespan, which an app may lack
        size, more = 0, True
        while more:
            message = await receive()
            size += len(message.get("body", b""))
            more = message.get("more_body", False)
        target = scope["raw_path"] + (
            b"?" + scope["query_string"] if scope["query_string"] else b""
        )
        text = f"{scope['method']} {target.decode()}" + (f" with {size} bytes" if size else "")
        headers = [(b"content-type", b"text/plain")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": f"{text}\n".encode()})

    return answer
