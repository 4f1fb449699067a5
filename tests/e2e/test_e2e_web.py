"""Web functions as their callers meet them."""

from __future__ import annotations

import shutil
import socket
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait

import httpx
import pytest
from driver import DEADLINE, Deployed, Portico, client, get, post, until

ENDPOINTS = """
    import asyncio
    import modal
    from fastapi import BackgroundTasks, File, Form, Request, UploadFile
    from fastapi.responses import HTMLResponse
    from pydantic import BaseModel

    app = modal.App("web", image=IMAGE)

    class Ticket(BaseModel):
        guest: str
        seats: int = 2

    @app.function()
    @modal.fastapi_endpoint()
    def square(x: int):
        return {"x": x, "squared": x * x}

    @app.function()
    @modal.fastapi_endpoint(method="POST")
    def keys(document: dict):
        return sorted(document)

    @app.function()
    @modal.fastapi_endpoint(method="POST")
    def book(ticket: Ticket):
        return HTMLResponse(f"<p>{ticket.seats} seats for {ticket.guest}</p>")

    @app.function()
    @modal.fastapi_endpoint(method="POST")
    async def register(name: str = Form(), portrait: UploadFile = File()):
        return {"name": name, "file": portrait.filename, "bytes": len(await portrait.read())}

    @app.function()
    @modal.fastapi_endpoint(docs=True)
    def caller(request: Request):
        return request.client.host

    @app.function()
    @modal.fastapi_endpoint()
    def broken():
        raise LookupError("no such drawer")

    @app.function(allow_concurrent_inputs=10)
    @modal.fastapi_endpoint()
    async def endless():
        print("waiting begins")
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            print("waiting was cancelled")
            raise

    @app.function()
    @modal.fastapi_endpoint(requires_proxy_auth=True)
    def private():
        return "never seen"
"""


@pytest.fixture(scope="module")
def web(server: Portico) -> Deployed:
    return server.deploy("web.py", ENDPOINTS)


def test_a_query_parameter_is_an_argument(web: Deployed) -> None:
    assert get(web.url("square"), params={"x": 12}).json() == {"x": 12, "squared": 144}
    assert get(web.url("square"), params={"x": "many"}).status_code == 422


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
def test_curl_reaches_a_function_at_its_host_and_at_its_port(
    web: Deployed, server: Portico
) -> None:
    host, _, port = web.urls["square"][0].removeprefix("http://").partition(":")
    for url, *more in (
        [web.url("square")],
        [web.urls["square"][0], "--resolve", f"{host}:{port}:127.0.0.1"],
    ):
        command = ["curl", "-sS", "--fail", "--noproxy", "*", f"{url}/?x=3", *more]
        done = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE)
        assert (done.returncode, done.stdout) == (0, '{"x":3,"squared":9}'), done.stderr


def test_a_json_body_is_a_dictionary(web: Deployed) -> None:
    assert post(web.url("keys"), json={"b": [1], "a": None}).json() == ["a", "b"]
    assert get(web.url("keys")).status_code == 405


def test_a_model_is_validated_and_answered_with_html(web: Deployed) -> None:
    answer = post(web.url("book"), json={"guest": "Ada"})
    assert answer.text == "<p>2 seats for Ada</p>"
    assert answer.headers["content-type"].startswith("text/html")
    refused = post(web.url("book"), json={"seats": 1})
    assert refused.status_code == 422
    assert refused.json()["detail"][0]["loc"] == ["body", "guest"]


def test_a_form_with_an_upload(web: Deployed) -> None:
    portrait = ("ada.png", b"\x89" * 300_000, "image/png")
    answer = post(web.url("register"), data={"name": "Ada"}, files={"portrait": portrait})
    assert answer.json() == {"name": "Ada", "file": "ada.png", "bytes": 300_000}


def test_the_client_address_is_the_clients_and_not_what_it_claims(web: Deployed) -> None:
    with client(transport=httpx.HTTPTransport(local_address="127.0.0.7")) as http:
        answer = http.get(web.url("caller"), headers={"x-forwarded-for": "203.0.113.9"})
    assert answer.json() == "127.0.0.7"


def test_docs_are_there_only_where_they_are_asked_for(web: Deployed) -> None:
    assert "swagger" in get(f"{web.url('caller')}/docs").text.lower()
    assert get(f"{web.url('caller')}/openapi.json").json()["paths"].keys() == {"/"}
    assert get(f"{web.url('square')}/docs").status_code == 404
    assert get(f"{web.url('square')}/openapi.json").status_code == 404


def test_an_exception_is_a_500_with_its_traceback_in_the_logs(
    web: Deployed, server: Portico
) -> None:
    assert get(web.url("broken")).status_code == 500
    logged = server.until_logged("web", "LookupError: no such drawer")
    assert "Traceback (most recent call last)" in logged
    assert "in broken" in logged


def test_requests_go_by_host_and_every_answer_has_an_id(web: Deployed, server: Portico) -> None:
    host = web.urls["square"][0].removeprefix("http://")
    assert host.startswith("e2e--web-square.localhost:")
    by_host = get(server.web_url, params={"x": 2}, headers={"host": host})
    assert by_host.json()["squared"] == 4
    by_port = get(web.url("square"), params={"x": 2}, headers={"host": "anything.example"})
    assert by_port.json()["squared"] == 4
    ids = {answer.headers["x-request-id"] for answer in (by_host, by_port)}
    assert len(ids) == 2


def test_an_unknown_host_is_a_404_that_says_so(server: Portico) -> None:
    answer = get(server.web_url, headers={"host": "nobody.localhost"})
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"
    assert "nobody.localhost" in answer.json()["detail"]
    assert answer.json()["request_id"] == answer.headers["x-request-id"]


def test_a_function_with_proxy_auth_refuses_strangers_and_sleeps_on(
    web: Deployed, server: Portico
) -> None:
    wrong = {"modal-key": "wk-x", "modal-secret": "ws-x"}
    for headers in ({}, wrong, {"authorization": "Bearer wk-x.ws-x"}):
        assert get(web.url("private"), headers=headers).status_code == 401
    assert server.containers("web", "private") == []


def test_a_client_that_leaves_cancels_its_input(web: Deployed, server: Portico) -> None:
    port = int(web.url("endless").rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port), DEADLINE) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        server.until_logged("web", "waiting begins")
        assert [c["running"] for c in server.containers("web", "endless")] == [1]
    server.until_logged("web", "waiting was cancelled")
    until(lambda: [c["running"] for c in server.containers("web", "endless")] == [0], "a free slot")


# ---- ASGI apps

ASGI = """
    import asyncio
    import contextlib
    import modal

    app = modal.App("asgi", image=IMAGE)

    @app.function(allow_concurrent_inputs=200, max_containers=1)
    @modal.asgi_app()
    def api():
        from fastapi import FastAPI, Request
        from fastapi.responses import StreamingResponse

        together, go_on = asyncio.Event(), asyncio.Event()
        inside = 0

        @contextlib.asynccontextmanager
        async def lifespan(_):
            yield {"opened": [], "greeting": "good morning"}

        web = FastAPI(lifespan=lifespan)

        @web.post("/echo")
        async def echo(request: Request):
            nonlocal inside
            inside += 1
            if inside == 100:
                together.set()
            await together.wait()  # nobody is answered before all are here
            return await request.json()

        @web.get("/stream")
        async def stream():
            async def chunks():
                yield "first "
                await go_on.wait()
                yield "second"
            return StreamingResponse(chunks(), media_type="text/plain")

        @web.get("/go-on")
        async def go_on_now():
            go_on.set()

        @web.get("/state")
        async def state(request: Request):
            seen = getattr(request.state, "mark", None)
            request.state.mark = "set by a former request"
            return {"greeting": request.state.greeting, "seen": seen}

        return web
"""


@pytest.fixture(scope="module")
def asgi(server: Portico) -> Deployed:
    return server.deploy("asgi.py", ASGI)


def test_a_hundred_clients_at_once_each_get_their_own_echo(asgi: Deployed) -> None:
    limits = httpx.Limits(max_connections=None)
    with client(limits=limits) as http, ThreadPoolExecutor(100) as pool:
        url = f"{asgi.url('api')}/echo"
        answers = pool.map(lambda n: http.post(url, json={"from": n}), range(100))
        assert [answer.json() for answer in answers] == [{"from": n} for n in range(100)]


def test_chunks_arrive_as_they_are_sent(asgi: Deployed) -> None:
    with client() as http, http.stream("GET", f"{asgi.url('api')}/stream") as answer:
        chunks: Iterator[str] = answer.iter_text()
        assert next(chunks) == "first "
        assert get(f"{asgi.url('api')}/go-on").status_code == 200
        assert "".join(chunks) == "second"


def test_lifespan_state_reaches_every_request_afresh(asgi: Deployed) -> None:
    for _ in range(2):
        answer = get(f"{asgi.url('api')}/state")
        assert answer.json() == {"greeting": "good morning", "seen": None}


# ---- secrets, images


def test_a_bearer_token_from_a_secret_opens_the_door(server: Portico) -> None:
    server("secret", "create", "door", "DOOR_TOKEN=-", stdin="open-sesame-417\n")
    app = server.deploy(
        "guarded.py",
        """
        import os
        import modal
        from fastapi import Depends, HTTPException
        from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

        app = modal.App("guarded", image=IMAGE)
        bearer = HTTPBearer()

        @app.function(secrets=[modal.Secret.from_name("door", required_keys=["DOOR_TOKEN"])])
        @modal.fastapi_endpoint()
        def inside(given: HTTPAuthorizationCredentials = Depends(bearer)):
            if given.credentials != os.environ["DOOR_TOKEN"]:
                raise HTTPException(401, "not you", headers={"WWW-Authenticate": "Bearer"})
            return "come in"
        """,
    )
    url = app.url("inside")
    refused = get(url, headers={"authorization": "Bearer guess"})
    assert (refused.status_code, refused.headers["www-authenticate"]) == (401, "Bearer")
    assert get(url, headers={"authorization": "Bearer open-sesame-417"}).json() == "come in"


def test_an_image_without_fastapi_is_a_503_that_says_how_to_add_it(server: Portico) -> None:
    app = server.deploy(
        "lacking.py",
        """
        import portico

        app = portico.App("lacking", image=portico.Image.debian_slim())

        @app.function()
        @portico.fastapi_endpoint()
        def hello():
            return "hello"
        """,
    )
    answer = get(app.url("hello"))
    assert answer.status_code == 503
    assert '.pip_install("fastapi[standard]")' in answer.json()["detail"]


PINNED = """
    import portico

    app = portico.App("pinned-NAME", image=portico.Image.debian_slim().pip_install("six==VERSION"))

    @app.function()
    @portico.asgi_app()
    def version():
        import six

        async def answer(scope, receive, send):
            if scope["type"] != "http":
                raise NotImplementedError
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": six.__version__.encode()})

        return answer
"""


def test_two_apps_with_different_versions_of_one_package_run_at_once(server: Portico) -> None:
    apps = {}
    for name, version in (("old", "1.15.0"), ("new", "1.16.0")):
        text = PINNED.replace("NAME", name).replace("VERSION", version)
        apps[version] = server.deploy(f"pinned_{name}.py", text)
    answers = {version: get(app.url("version")).text for version, app in apps.items()}
    assert answers == {"1.15.0": "1.15.0", "1.16.0": "1.16.0"}
    assert all(len(server.containers(f"pinned-{name}")) == 1 for name in ("old", "new"))


# ---- classes, slots

SHOP = """
    import modal

    app = modal.App("shop", image=IMAGE)

    @app.cls()
    class Shop:
        @modal.enter()
        def open(self):
            print("the shop opens")
            self.sold = 0

        @modal.fastapi_endpoint()
        def stock(self):
            return {"sold": self.sold}

        @modal.fastapi_endpoint(method="POST")
        def sell(self, number: int):
            self.sold += number
            return {"sold": self.sold}

        @modal.exit()
        def close(self):
            print(f"the shop closes, {self.sold} sold")
"""


def test_a_class_has_hooks_and_several_web_methods(server: Portico) -> None:
    app = server.deploy("shop.py", SHOP)
    assert get(app.url("Shop.stock")).json() == {"sold": 0}
    assert post(app.url("Shop.sell"), params={"number": 3}).json() == {"sold": 3}
    assert get(app.url("Shop.stock")).json() == {"sold": 3}
    server("app", "stop", "shop")
    logged = server.until_logged(app.app_id, "the shop closes, 3 sold")
    assert logged.count("the shop opens") == 1


SLOTS = """
    import asyncio
    import os
    from pathlib import Path
    import portico as modal
    from fastapi import BackgroundTasks

    app = modal.App("slots", image=IMAGE)
    ended = 0

    async def opened(gate):
        while not Path(gate).exists():
            await asyncio.sleep(0.01)

    @app.function(allow_concurrent_inputs=3, max_containers=2)
    @modal.fastapi_endpoint()
    async def held(gate: str):
        await opened(gate)
        return os.getpid()

    async def later(gate):
        global ended
        await opened(gate)
        ended += 1

    @app.function(max_containers=1)
    @modal.fastapi_endpoint()
    async def background(gate: str, tasks: BackgroundTasks):
        tasks.add_task(later, gate)
        return ended
"""


@pytest.fixture(scope="module")
def slots(server: Portico) -> Deployed:
    return server.deploy("slots.py", SLOTS)


def test_requests_beyond_all_slots_wait_their_turn(slots: Deployed, server: Portico) -> None:
    gate = server.work / "held"
    with ThreadPoolExecutor(10) as pool:
        url, parameters = slots.url("held"), {"gate": str(gate)}
        requests = [pool.submit(get, url, params=parameters) for _ in range(10)]

        def full() -> bool:
            return [c["running"] for c in server.containers("slots", "held")] == [3, 3]

        until(full, "two containers with three inputs each")
        assert not any(request.done() for request in requests)
        gate.touch()
        answers = [request.result(DEADLINE) for request in requests]
    assert [answer.status_code for answer in answers] == [200] * 10
    assert len({answer.json() for answer in answers}) == 2


def test_a_background_task_holds_its_slot(slots: Deployed, server: Portico) -> None:
    gate = server.work / "background"
    url, parameters = slots.url("background"), {"gate": str(gate)}
    assert get(url, params=parameters).json() == 0
    with ThreadPoolExecutor(1) as pool:
        second = pool.submit(get, url, params=parameters)
        assert not wait([second], 0.5).done
        assert [c["running"] for c in server.containers("slots", "background")] == [1]
        gate.touch()
        assert second.result(DEADLINE).json() == 1
