"""``wsgi_app`` with Flask and Django, asked as browsers and other clients ask."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from driver import Deployed, Portico, client, get, post
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

FLASK = """
    import modal

    image = modal.Image.debian_slim().pip_install("flask", "flask-sock")
    app = modal.App("flask", image=image)

    # The guide's function, word for word.
    @app.function(image=image, allow_concurrent_inputs=1000)
    @modal.wsgi_app()
    def flask_app():
        from flask import Flask, request

        web_app = Flask(__name__)


        @web_app.post("/echo")
        def echo():
            return request.json

        return web_app

    @app.function(allow_concurrent_inputs=3)
    @modal.wsgi_app()
    def more():
        import hashlib, pathlib
        from flask import Flask, Response, redirect, request, session, url_for
        from flask_sock import Sock

        web = Flask("more")
        web.secret_key = "not secret"
        sock = Sock(web)

        def peak():
            status = pathlib.Path("/proc/self/status").read_text()
            return int(status.split("VmHWM:")[1].split()[0])

        @web.post("/hash")
        def hash_it():
            before, sum_ = peak(), hashlib.sha256()
            while piece := request.stream.read(65536):
                sum_.update(piece)
            return {"sha256": sum_.hexdigest(), "grown": peak() - before}

        @web.get("/stream")
        def stream():
            before = peak()
            def pieces():
                for _ in range(1000):
                    yield b"x" * 100_000
                yield f"grown {peak() - before}"
            return Response(pieces(), mimetype="text/plain")

        @web.get("/who")
        def who():
            return {"address": request.remote_addr, "url": request.url, "thread": modal.current_input_id()}

        @web.get("/away")
        def away():
            return redirect(url_for("who", x="1"))

        @web.get("/visits")
        def visits():
            session["visits"] = session.get("visits", 0) + 1
            return str(session["visits"])

        @web.get("/broken")
        def broken():
            raise LookupError("no such drawer")

        @sock.route("/talk")
        def talk(socket):
            while (message := socket.receive()) != "leave":
                socket.send(message)
            socket.close(4005, "left")

        return web
"""


@pytest.fixture(scope="module")
def flask(server: Portico) -> Deployed:
    return server.deploy("flask_apps.py", FLASK)


def test_the_guides_flask_app_echoes(flask: Deployed) -> None:
    document = {"any": ["JSON", 1, None], "ü": "é"}
    assert post(f"{flask.url('flask_app')}/echo", json=document).json() == document
    assert get(f"{flask.url('flask_app')}/echo").status_code == 405


def test_flask_reads_and_writes_more_than_it_holds(flask: Deployed) -> None:
    sum_ = hashlib.sha256()

    def pieces() -> Iterator[bytes]:
        for number in range(1000):
            piece = number.to_bytes(2, "big") * 50_000
            sum_.update(piece)
            yield piece

    with client(base_url=flask.url("more")) as http:
        read = http.post("/hash", content=pieces()).json()
        assert read["sha256"] == sum_.hexdigest()
        with http.stream("GET", "/stream") as answer:
            size, last = 0, b""
            for piece in answer.iter_bytes():
                size, last = size + len(piece), last[-50:] + piece[-50:]
    assert size > 100_000_000
    written = int(last.rpartition(b"grown ")[2])
    assert max(read["grown"], written) < 20_000, "KiB for 100 MB"


def test_flask_knows_its_client_and_its_own_address(flask: Deployed) -> None:
    url = flask.url("more")
    with client(transport=httpx.HTTPTransport(local_address="127.0.0.7")) as http:
        who = http.get(f"{url}/who?x=%C3%BC", headers={"x-forwarded-for": "6.6.6.6"}).json()
    assert (who["address"], who["url"]) == ("127.0.0.7", f"{url}/who?x=ü")
    assert who["thread"].startswith("in-")
    assert get(f"{url}/away").headers["location"] == "/who?x=1"
    with client(base_url=url) as http:
        assert [http.get("/visits").text for _ in range(3)] == ["1", "2", "3"]


def test_a_flask_exception_is_flasks_500_and_its_traceback_is_in_the_log(
    flask: Deployed, server: Portico
) -> None:
    answer = get(f"{flask.url('more')}/broken")
    assert (answer.status_code, answer.headers["content-type"]) == (500, "text/html; charset=utf-8")
    assert "Internal Server Error" in answer.text
    server.until_logged("flask", "LookupError: no such drawer")


def test_flask_sock_echoes_text_bytes_and_two_mebibytes(flask: Deployed) -> None:
    url = flask.url("more").replace("http://", "ws://")
    with connect(f"{url}/talk", proxy=None, max_size=None, compression=None) as one:
        with connect(f"{url}/talk", proxy=None, max_size=None, compression=None) as two:
            for message in ("text ü", b"\0bytes", "x" * (2 << 20), b"y" * (2 << 20)):
                for socket in (one, two):
                    socket.send(message)
                    assert socket.recv(60) == message
        one.send("leave")
        with pytest.raises(ConnectionClosed):
            one.recv(60)
        assert (one.close_code, one.close_reason) == (4005, "left")


# ---- Django

PROJECT = {
    "site_urls.py": """
        from django.contrib import admin
        from django.http import HttpResponse
        from django.shortcuts import render
        from django.urls import path
        from django.views.decorators.csrf import ensure_csrf_cookie
        from berths.models import Berth

        @ensure_csrf_cookie
        def book(request):
            if request.method == "POST":
                berth = Berth.objects.create(ship=request.POST["ship"])
                return HttpResponse(f"berth {berth.pk} for {berth.ship}")
            return render(request, "book.html")

        urlpatterns = [path("admin/", admin.site.urls), path("book/", book)]
    """,
    "templates/book.html": """
        <form method="post">{% csrf_token %}<input name="ship"></form>
    """,
    "berths/__init__.py": "",
    "berths/models.py": """
        from django.contrib import admin
        from django.db import models

        class Berth(models.Model):
            ship = models.CharField(max_length=80)

            def __str__(self):
                return f"berth of {self.ship}"

        admin.site.register(Berth)
    """,
    "berths/migrations/__init__.py": "",
    "berths/migrations/0001_initial.py": """
        from django.db import migrations, models

        class Migration(migrations.Migration):
            initial = True
            dependencies = []
            operations = [migrations.CreateModel("Berth", [
                ("id", models.BigAutoField(primary_key=True)),
                ("ship", models.CharField(max_length=80)),
            ])]
    """,
    "site_settings.py": """
        import pathlib

        SECRET_KEY = "not secret"
        ALLOWED_HOSTS = ["*"]
        ROOT_URLCONF = "site_urls"
        STATIC_URL = "static/"
        STATIC_ROOT = pathlib.Path("collected").absolute()
        DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
        INSTALLED_APPS = [
            "django.contrib.admin", "django.contrib.auth", "django.contrib.contenttypes",
            "django.contrib.sessions", "django.contrib.messages", "django.contrib.staticfiles",
            "berths",
        ]
        MIDDLEWARE = [
            "django.middleware.security.SecurityMiddleware",
            "whitenoise.middleware.WhiteNoiseMiddleware",
            "django.contrib.sessions.middleware.SessionMiddleware",
            "django.middleware.common.CommonMiddleware",
            "django.middleware.csrf.CsrfViewMiddleware",
            "django.contrib.auth.middleware.AuthenticationMiddleware",
            "django.contrib.messages.middleware.MessageMiddleware",
        ]
        TEMPLATES = [{
            "BACKEND": "django.template.backends.django.DjangoTemplates",
            "DIRS": [pathlib.Path(__file__).with_name("templates")],
            "APP_DIRS": True,
            "OPTIONS": {"context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]},
        }]
        DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "site.sqlite3"}}
    """,
    "harbour.py": """
        import os
        import pathlib

        import modal

        here = pathlib.Path(__file__).parent
        image = modal.Image.debian_slim().pip_install("django>=5,<7", "whitenoise")
        if modal.is_local():
            for name in ("site_urls.py", "site_settings.py"):
                image = image.add_local_file(here / name, f"/root/{name}")
            for name in ("templates", "berths"):
                image = image.add_local_dir(here / name, f"/root/{name}")
        app = modal.App("harbour", image=image)

        @app.function(allow_concurrent_inputs=8, max_containers=1)
        @modal.wsgi_app()
        def site():
            import sys

            sys.path.insert(0, os.getcwd())
            os.environ["DJANGO_SETTINGS_MODULE"] = "site_settings"
            from django.core.management import call_command
            from django.core.wsgi import get_wsgi_application

            import django

            django.setup()
            call_command("migrate", verbosity=0)
            call_command("collectstatic", interactive=False, verbosity=0)
            os.environ["DJANGO_SUPERUSER_PASSWORD"] = "ahoy"
            call_command("createsuperuser", interactive=False, username="ada", email="a@b.example")
            return get_wsgi_application()
    """,
}
TOKEN = re.compile(r'name="csrfmiddlewaretoken" value="(\w+)"')


@pytest.fixture(scope="module")
def harbour(server: Portico) -> str:
    for name, text in PROJECT.items():
        script: Path = server.script(f"harbour/{name}", text)
    return Deployed(server.json("deploy", script)).url("site")


def token(page: httpx.Response) -> str:
    found = TOKEN.search(page.text)
    assert found, page.text
    return found[1]


def test_a_django_form_needs_its_csrf_token(harbour: str) -> None:
    with client(base_url=harbour) as http:
        page = http.get("/book/")
        assert http.post("/book/", data={"ship": "Tern"}).status_code == 403
        data = {"ship": "Tern", "csrfmiddlewaretoken": token(page)}
        assert re.fullmatch(r"berth \d+ for Tern", http.post("/book/", data=data).text)
        foreign = {"origin": "https://elsewhere.example"}
        assert http.post("/book/", data=data, headers=foreign).status_code == 403
        own = {"origin": harbour}
        assert http.post("/book/", data=data, headers=own).status_code == 200


def test_djangos_admin_works_with_sessions_and_static_files(harbour: str) -> None:
    with client(base_url=harbour) as http:
        moved = http.get("/admin/")
        assert moved.headers["location"] == "/admin/login/?next=/admin/"
        page = http.get(moved.headers["location"])
        style = re.search(r'href="(/static/admin/css/base[^"]*)"', page.text)
        assert style
        sheet = http.get(style[1])
        assert sheet.headers["content-type"].startswith("text/css")
        assert "--primary" in sheet.text

        login = {"username": "ada", "password": "ahoy", "csrfmiddlewaretoken": token(page)}
        assert (
            "Please enter the correct"
            in http.post("/admin/login/", data={**login, "password": "wrong"}).text
        )
        entered = http.post("/admin/login/?next=/admin/", data=login)
        assert (entered.status_code, entered.headers["location"]) == (302, "/admin/")
        form = http.get("/admin/berths/berth/add/")
        berth = {"ship": "Kittiwake", "csrfmiddlewaretoken": token(form)}
        added = http.post("/admin/berths/berth/add/", data=berth)
        assert added.headers["location"] == "/admin/berths/berth/"
        listed = http.get("/admin/berths/berth/").text
        assert "berth of Kittiwake" in listed
        change = re.search(
            r'href="(/admin/berths/berth/\d+/change/)[^"]*">berth of Kittiwake', listed
        )
        assert change
        berth = {"ship": "Fulmar", "csrfmiddlewaretoken": token(http.get(change[1]))}
        assert http.post(change[1], data=berth).headers["location"] == "/admin/berths/berth/"
        changed = http.get("/admin/berths/berth/").text
        assert "berth of Fulmar" in changed
        assert "berth of Kittiwake</a></th>" not in changed
    assert get(f"{harbour}/admin/berths/berth/").status_code == 302
