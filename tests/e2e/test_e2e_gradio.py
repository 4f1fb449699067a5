"""Gradio, mounted in a FastAPI app, as a visitor with a browser meets it."""

from __future__ import annotations

import pytest
from driver import Portico, get
from playwright.sync_api import Page

GRADIO = """
    import modal

    image = (
        modal.Image.debian_slim()
        .pip_install("gradio>=5,<7")
        .env({"GRADIO_ANALYTICS_ENABLED": "False"})
    )
    app = modal.App("gradio", image=image)

    @app.function(allow_concurrent_inputs=100, max_containers=1)
    @modal.asgi_app()
    def web():
        import gradio
        from fastapi import FastAPI

        def count(words):
            for number, word in enumerate(words.split(), 1):
                yield f"{number}: {word}"

        with gradio.Blocks(title="Words") as page:
            words = gradio.Textbox(label="Words")
            last = gradio.Textbox(label="Last")
            gradio.Button("Count").click(count, words, last)

        api = FastAPI()

        @api.get("/health")
        async def health():
            return {"ok": True}

        return gradio.mount_gradio_app(api, page, path="/page")
"""


@pytest.mark.timeout(400)
def test_a_component_of_a_mounted_gradio_page_works(server: Portico, page: Page) -> None:
    url = server.deploy("gradio_page.py", GRADIO).url("web")
    assert get(f"{url}/health").json() == {"ok": True}
    page.goto(f"{url}/page")
    page.get_by_label("Words", exact=True).fill("tide table")
    page.get_by_role("button", name="Count").click()
    last = page.get_by_label("Last", exact=True)
    page.wait_for_function("box => box.value === '2: table'", arg=last.element_handle())
