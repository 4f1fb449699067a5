r"""A Gradio interface, mounted in FastAPI. Open the URL with `/page` behind it in a browser.

    $ portico serve examples/asgi_gradio.py
    $ curl -s -L -o /dev/null -w '%{http_code}\n' "$URL/page"
    200
    $ curl -s "$URL/health"
    {"ok":true}

A Gradio page keeps a stream open while it is looked at, which takes a slot, and what it knows of its visitor is in one
process: hence many concurrent inputs, and one container.
"""

from typing import Any

import portico

image = (
    portico.Image.debian_slim()
    .pip_install("gradio>=5,<7")
    .env({"GRADIO_ANALYTICS_ENABLED": "False"})
)
app = portico.App("asgi-gradio", image=image)


@app.function(allow_concurrent_inputs=100, max_containers=1)
@portico.asgi_app()
def web() -> Any:
    import gradio
    from fastapi import FastAPI

    with gradio.Blocks(title="Backwards") as page:
        words = gradio.Textbox(label="Words")
        answer = gradio.Textbox(label="Backwards")
        words.submit(lambda text: text[::-1], words, answer)

    api = FastAPI()

    @api.get("/health")
    async def health() -> dict[str, bool]:
        return {"ok": True}

    return gradio.mount_gradio_app(api, page, path="/page")
