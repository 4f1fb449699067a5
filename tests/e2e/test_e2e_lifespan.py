"""Lifespans that fail: at the start everybody is told, at the stop the log is, and ``exit`` runs all the same."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from driver import Deployed, Portico, client, get

FAILING = """
    import modal

    image = modal.Image.debian_slim().pip_install("fastapi", "quart>=0.20,<1")
    app = modal.App("failing", image=image)

    @app.function(max_containers=1)
    @modal.asgi_app()
    def starlette():
        from contextlib import asynccontextmanager
        from starlette.applications import Starlette

        @asynccontextmanager
        async def lifespan(app):
            raise ConnectionError("the harbour is closed")
            yield

        return Starlette(lifespan=lifespan)

    @app.function(max_containers=1)
    @modal.asgi_app()
    def quart():
        from quart import Quart

        web = Quart("quart")

        @web.before_serving
        async def open():
            raise ConnectionError("the harbour is closed")

        return web

    @app.function(max_containers=1)
    @modal.asgi_app()
    def bare():
        async def web(scope, receive, send):
            await receive()
            await send({"type": "lifespan.startup.failed", "message": "the harbour is closed"})

        return web

    @app.cls()
    class Ending:
        @modal.asgi_app()
        def web(self):
            from contextlib import asynccontextmanager
            from fastapi import FastAPI

            @asynccontextmanager
            async def lifespan(app):
                yield
                raise ConnectionError("the anchor is stuck")

            api = FastAPI(lifespan=lifespan)

            @api.get("/")
            async def home():
                return "home"

            return api

        @modal.exit()
        def leave(self):
            print("all ashore")
"""


@pytest.fixture(scope="module")
def failing(server: Portico) -> Deployed:
    return server.deploy("failing.py", FAILING)


@pytest.mark.parametrize("name", ["starlette", "quart", "bare"])
def test_a_failing_startup_is_told_to_all_that_wait(
    failing: Deployed, server: Portico, name: str
) -> None:
    with client() as http, ThreadPoolExecutor(5) as pool:
        answers = list(pool.map(http.get, [failing.url(name)] * 5))
    for answer in answers:
        assert answer.status_code == 503
        assert "failed in lifespan: " in answer.json()["detail"]
        assert "the harbour is closed" in answer.json()["detail"]
        assert "Traceback" not in answer.json()["detail"]  # for a deployed app that is the log's
    if name != "bare":
        assert 'raise ConnectionError("the harbour is closed")' in server.logs("failing")


def test_the_traceback_of_a_failing_startup_is_shown_while_serving(user: Portico) -> None:
    serve = user.begin("serve", user.script("failing.py", FAILING))
    serve.until("Serving until")
    found = serve.until(r"starlette  asgi_app\n.*\n.*?(http://127\S+)")
    detail = get(found[1]).json()["detail"]
    assert detail.startswith("the container failed in lifespan: ConnectionError: the harbour")
    assert 'raise ConnectionError("the harbour is closed")' in detail
    assert "starlette/" not in detail  # frames of the machinery are left out


def test_a_failing_shutdown_is_logged_and_exit_runs(own: Portico) -> None:
    app = own.deploy("failing.py", FAILING)
    assert get(app.url("Ending.web")).json() == "home"
    (container,) = own.containers("failing")
    own("container", "stop", container["container_id"])
    logs = own.until_logged("failing", "all ashore")
    assert "ConnectionError: the anchor is stuck" in logs
