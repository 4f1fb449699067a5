"""``asgi_app`` with the frameworks that people put behind it, in one image."""

from __future__ import annotations

import http.client
import socket
from urllib.parse import urlsplit

import httpx
import pytest
from driver import DEADLINE, Deployed, Portico, client, get, until

FRAMEWORKS = """
    import modal
    from pathlib import Path

    image = (
        modal.Image.debian_slim()
        .pip_install(
            "fastapi", "python-multipart", "python-fasthtml>=0.12,<1", "litestar>=2.12,<3",
            "quart>=0.20,<1", "django>=5,<7",
        )
        .add_local_dir(Path(__file__).with_name("static"), "/root/static")
    )
    app = modal.App("frameworks", image=image)
    many = {"allow_concurrent_inputs": 50}

    @app.function(**many)
    @modal.asgi_app()
    def starlette():
        from contextlib import asynccontextmanager
        from starlette.applications import Starlette
        from starlette.responses import JSONResponse, StreamingResponse
        from starlette.routing import Mount, Route

        @asynccontextmanager
        async def lifespan(app):
            yield {"ships": ["tern"]}

        async def ships(request):
            request.state.ships = [*request.state.ships, "gull"]  # this request's own
            return JSONResponse(request.state.ships)

        async def copy(request):
            sizes = [len(piece) async for piece in request.stream()]
            async def pieces():
                for size in sizes:
                    yield b"x" * size
            return StreamingResponse(pieces())

        inner = Starlette(routes=[Route("/", lambda r: JSONResponse(str(r.url)))])
        return Starlette(
            routes=[Route("/ships", ships), Route("/copy", copy, methods=["POST"]),
                Mount("/inner", inner)],
            lifespan=lifespan,
        )

    @app.function(**many)
    @modal.asgi_app()
    def fastapi():
        from fastapi import FastAPI
        from fastapi.staticfiles import StaticFiles

        inner = FastAPI()

        @inner.get("/items/{id}")
        async def item(id: int):
            return {"id": id}

        outer = FastAPI()
        outer.mount("/v2", inner)
        outer.mount("/static", StaticFiles(directory="static"))
        return outer

    @app.function(**many)
    @modal.asgi_app()
    def fasthtml():
        from fasthtml.common import Form, Input, Titled, fast_app

        web, route = fast_app(secret_key="not secret", live=False)

        @route("/", methods=["get"])
        def seen(session):
            session["seen"] = session.get("seen", 0) + 1
            return Titled(f"Seen {session['seen']}", Form(Input(name="word"), method="post"))

        @route("/", methods=["post"])
        def shout(word: str):
            return Titled(word.upper())

        return web

    @app.function(**many)
    @modal.asgi_app()
    def litestar():
        from dataclasses import dataclass
        from litestar import Litestar, get, post

        @dataclass
        class Lamp:
            number: int
            lit: bool = False

        @get("/lamps/{number:int}", sync_to_thread=True)
        def lamp(number: int) -> Lamp:
            return Lamp(number)

        @post("/lamps")
        async def add(data: Lamp) -> Lamp:
            return data

        return Litestar([lamp, add])

    @app.function(**many)
    @modal.asgi_app()
    def quart():
        from quart import Quart, request

        web = Quart("quart")

        @web.post("/form")
        async def form():
            return dict(await request.form)

        @web.get("/count")
        async def count():
            async def numbers():
                for number in range(3):
                    yield f"{number}\\n"
            return numbers(), {"content-type": "text/plain"}

        @web.get("/address")
        async def address():
            return {"client": request.remote_addr, "root": request.root_url}

        return web

    @app.function(**many)
    @modal.asgi_app()
    def django():
        import django
        from django.conf import settings
        from django.core.asgi import get_asgi_application
        from django.http import HttpResponse, JsonResponse, StreamingHttpResponse
        from django.urls import path

        async def star(request, number):
            return JsonResponse({"number": number, "port": request.get_port()})

        def plain(request):
            return HttpResponse(request.build_absolute_uri("/there"))

        async def stream(request):
            async def lines():
                for number in range(3):
                    yield f"line {number}\\n"
            return StreamingHttpResponse(lines())

        async def upload(request):
            return JsonResponse({f.name: f.size for f in request.FILES.values()})

        urls = [path("stars/<int:number>/", star), path("plain", plain), path("stream", stream),
            path("upload", upload)]
        settings.configure(
            ALLOWED_HOSTS=["*"], SECRET_KEY="not secret",
            MIDDLEWARE=["django.middleware.common.CommonMiddleware"],
            ROOT_URLCONF=type("Urls", (), {"urlpatterns": urls}),
        )
        django.setup()
        return get_asgi_application()

    async def refuses_lifespan(scope, receive, send):
        assert scope["type"] == "http"
        state = scope.get("state")
        body = repr((scope["raw_path"], scope["query_string"], scope["root_path"], state)).encode()
        await send({"type": "http.response.start", "status": 200, "headers": [], "trailers": True})
        await send({"type": "http.response.body", "body": body})
        await send({"type": "http.response.trailers", "headers": [(b"x-sum", b"7")]})

    async def ignores_lifespan(scope, receive, send):
        if scope["type"] != "lifespan":
            await refuses_lifespan(scope, receive, send)

    @app.function(**many)
    @modal.asgi_app()
    def raw():
        return refuses_lifespan

    @app.function(**many)
    @modal.asgi_app()
    def silent():
        return ignores_lifespan

    async def shouts(scope, receive, send):
        if scope["type"] == "lifespan":
            return
        await send({"type": "http.response.start", "status": 200, "headers": []})
        more = True
        while more:
            message = await receive()
            more = message["more_body"]
            body = message["body"].upper()
            await send({"type": "http.response.body", "body": body, "more_body": True})
        print("then came", (await receive())["type"])

    @app.function(**many)
    @modal.asgi_app()
    def shouting():
        return shouts

    @app.cls(**many)
    class Counter:
        @modal.enter()
        def load(self):
            self.words = ["one"]

        @modal.asgi_app()
        def web(self):
            from fastapi import FastAPI

            api = FastAPI()

            @api.post("/words/{word}")
            async def add(word: str):
                self.words.append(word)
                return self.words

            return api
"""


@pytest.fixture(scope="module")
def web(server: Portico) -> Deployed:
    server.script("static/motto.txt", "Slow is smooth.\n")
    return server.deploy("frameworks.py", FRAMEWORKS)


def test_starlette_has_state_streams_and_mounts(web: Deployed) -> None:
    url = web.url("starlette")
    for _ in range(2):
        assert get(f"{url}/ships").json() == ["tern", "gull"]
    with client() as http:
        pieces = (b"ab" * 50_000 for _ in range(20))
        answer = http.post(f"{url}/copy", content=pieces)
        assert len(answer.content) == 2_000_000
        moved = http.get(f"{url}/inner")
        assert (moved.status_code, moved.headers["location"]) == (307, f"{url}/inner/")
        assert http.get(f"{url}/inner/").json() == f"{url}/inner/"


def test_a_redirect_leads_to_the_host_and_port_that_were_asked(
    web: Deployed, server: Portico
) -> None:
    url = web.urls["starlette"][0]
    host = url.removeprefix("http://")
    moved = get(f"{server.web_url}/inner", headers={"host": host})
    assert (moved.status_code, moved.headers["location"]) == (307, f"{url}/inner/")


def test_fastapi_has_sub_apps_and_static_files(web: Deployed) -> None:
    url = web.url("fastapi")
    assert get(f"{url}/v2/items/3").json() == {"id": 3}
    assert get(f"{url}/v2/openapi.json").json()["servers"] == [{"url": "/v2"}]
    whole = get(f"{url}/static/motto.txt")
    assert whole.text == "Slow is smooth.\n"
    known = {"if-none-match": whole.headers["etag"]}
    assert get(f"{url}/static/motto.txt", headers=known).status_code == 304
    part = get(f"{url}/static/motto.txt", headers={"range": "bytes=8-13"})
    assert (part.status_code, part.text) == (206, "smooth")
    with client() as http:
        head = http.head(f"{url}/static/motto.txt")
        assert (head.headers["content-length"], head.content) == ("16", b"")
    assert get(f"{url}/static/../frameworks.py").status_code == 404


def test_fasthtml_has_sessions_and_forms(web: Deployed) -> None:
    with client(base_url=web.url("fasthtml")) as http:
        assert "<h1>Seen 1</h1>" in http.get("/").text
        assert "<h1>Seen 2</h1>" in http.get("/").text
        assert "<h1>TIDE</h1>" in http.post("/", data={"word": "tide"}).text


def test_litestar_checks_types_and_runs_synchronous_handlers(web: Deployed) -> None:
    with client(base_url=web.url("litestar")) as http:
        assert http.get("/lamps/2").json() == {"number": 2, "lit": False}
        assert http.get("/lamps/two").status_code == 404
        lamp = {"number": 5, "lit": True}
        assert http.post("/lamps", json=lamp).json() == lamp
        assert http.post("/lamps", json={"lit": True}).status_code == 400


def test_quart_has_forms_streams_and_the_clients_address(web: Deployed) -> None:
    with client(base_url=web.url("quart")) as http:
        assert http.post("/form", data={"a": "1", "b": "ü"}).json() == {"a": "1", "b": "ü"}
        assert http.get("/count").text == "0\n1\n2\n"
    with client(transport=httpx.HTTPTransport(local_address="127.0.0.9")) as http:
        seen = http.get(f"{web.url('quart')}/address").json()
        assert seen == {"client": "127.0.0.9", "root": f"{web.url('quart')}/"}


def test_django_has_asynchronous_views_streams_and_uploads(web: Deployed) -> None:
    url = web.url("django")
    with client(base_url=url) as http:
        port = str(urlsplit(url).port)
        assert http.get("/stars/7/").json() == {"number": 7, "port": port}
        moved = http.get("/stars/7")
        assert (moved.status_code, moved.headers["location"]) == (301, "/stars/7/")
        assert http.get("/plain").text == f"{url}/there"
        assert http.get("/stream").text == "line 0\nline 1\nline 2\n"
        files = {"file": ("large.bin", b"x" * 5_000_000)}
        assert http.post("/upload", files=files).json() == {"large.bin": 5_000_000}


@pytest.mark.parametrize("name", ["raw", "silent"])
def test_a_bare_app_without_lifespan_sees_the_raw_path_and_sends_trailers(
    web: Deployed, name: str
) -> None:
    where = urlsplit(web.url(name))
    connection = http.client.HTTPConnection(str(where.hostname), where.port, timeout=DEADLINE)
    connection.request("GET", "/a%2Fb%20c?d=%2F")
    response = connection.getresponse()
    assert response.read() == repr((b"/a%2Fb%20c", b"d=%2F", "", {})).encode()
    connection.close()
    raw = exchange(web.url(name), b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    assert raw.endswith(b"\r\n0\r\nx-sum: 7\r\n\r\n")


def test_a_bare_app_gets_a_body_piece_by_piece_and_then_the_clients_leaving(
    web: Deployed, server: Portico
) -> None:
    where = urlsplit(web.url("shouting"))
    with socket.create_connection((where.hostname, where.port), DEADLINE) as connection:
        answer = connection.makefile("rb")
        connection.sendall(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
        for piece in (b"ebb", b"tide"):  # the second is sent when the first has been answered
            connection.sendall(b"%x\r\n%b\r\n" % (len(piece), piece))
            while piece.upper() not in (line := answer.readline()):
                assert line, "the answer ended"
        connection.sendall(b"0\r\n\r\n")
        assert [c["running"] for c in server.containers("frameworks", "shouting")] == [1]
        connection.shutdown(socket.SHUT_RDWR)
        answer.close()
    server.until_logged("frameworks", "then came http.disconnect")
    until(
        lambda: [c["running"] for c in server.containers("frameworks", "shouting")] == [0],
        "the end of the input",
    )


def exchange(url: str, request: bytes) -> bytes:
    """Everything that is answered to `request`."""
    where = urlsplit(url)
    answer = b""
    with socket.create_connection((where.hostname, where.port), DEADLINE) as connection:
        connection.sendall(request)
        while data := connection.recv(65536):
            answer += data
    return answer


def test_an_app_of_a_class_shares_what_enter_has_set_up(web: Deployed) -> None:
    with client(base_url=web.url("Counter.web")) as http:
        assert http.post("/words/two").json() == ["one", "two"]
        assert http.post("/words/three").json() == ["one", "two", "three"]
