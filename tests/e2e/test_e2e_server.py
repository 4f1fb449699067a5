"""The server: killed and started again, in the background, and what it leaves."""

from __future__ import annotations

import signal
from urllib.parse import urlsplit

import httpx
import pytest
from driver import Portico, alive, get, until, wait_gone
from test_e2e_serve import BREEDER

HELLO = """
    import modal

    app = modal.App("hello", image=IMAGE)

    @app.function()
    @modal.fastapi_endpoint()
    def greet(name: str = "world"):
        return f"hello {name}"
"""


def test_deployed_apps_come_back_after_a_kill_and_nothing_else_is_left(user: Portico) -> None:
    server = user.start_server()
    hello, breeder = user.deploy("hello.py", HELLO), user.deploy("breeder.py", BREEDER)
    assert get(hello.url("greet")).json() == "hello world"
    pids = [int(pid) for pid in get(breeder.url("pids")).text.split()]
    web = f"127.0.0.1:{urlsplit(user.web_url).port}"

    server.send(signal.SIGKILL)
    assert server.wait() == -signal.SIGKILL
    until(lambda: not any(map(alive, pids)), f"the end of all of {pids}")
    assert wait_gone(user.state) == []
    with pytest.raises(httpx.ConnectError):
        get(hello.url("greet"))

    user.start_server("--web", web)
    assert get(hello.url("greet"), params={"name": "again"}).json() == "hello again"
    host = urlsplit(hello.urls["greet"][0]).netloc
    assert get(user.web_url, headers={"host": host}).json() == "hello world"
    assert [int(pid) for pid in get(breeder.url("pids")).text.split()] != pids
    described = user.json("app", "describe", "hello")
    assert described["functions"] == hello.record["functions"]
    assert (described["version"], described["app_id"]) == (1, hello.app_id)


def test_a_stopped_server_ends_everything_in_order(user: Portico) -> None:
    server = user.start_server()
    breeder = user.deploy("breeder.py", BREEDER)
    pids = [int(pid) for pid in get(breeder.url("pids")).text.split()]
    server.send(signal.SIGTERM)
    assert server.wait() == 0
    assert not any(map(alive, pids))
    assert wait_gone(user.state) == []
    assert not (user.state / "client.json").exists()


def test_a_second_server_on_one_state_folder_is_refused(own: Portico) -> None:
    refused = own("server", "run", status=1)
    assert str(own.state) in refused.stderr
    assert "Traceback" not in refused.stderr
    assert own.json("server", "status")["apps"] == 0


def test_deploy_starts_a_server_in_the_background_and_says_so(user: Portico) -> None:
    said = user("deploy", user.script("hello.py", HELLO))
    try:
        assert "starting the local one (`portico server start`)" in said.stderr
        url = next(word for word in said.stdout.split() if word.startswith("http://127.0.0.1"))
        assert get(url).json() == "hello world"
        status = user.json("server", "status")
        assert (status["apps"], status["embedded"]) == (1, False)
        assert status["state_dir"] == str(user.state)
        assert alive(status["pid"])
    finally:
        user("server", "stop")
    assert not alive(status["pid"])
    assert wait_gone(user.state) == []
    with pytest.raises(httpx.ConnectError):
        get(url)
    assert "portico server start" in user("server", "status", status=1).stderr
    assert "No server runs here" in user("server", "stop").stdout


def test_server_start_and_stop_bring_the_apps_back_where_they_were(user: Portico) -> None:
    try:
        assert "Running" in user("server", "start").stdout
        hello = user.deploy("hello.py", HELLO)
        assert "Already running" in user("server", "start").stdout
        user("server", "stop")
        user("server", "start")
        assert get(hello.url("greet")).json() == "hello world"
    finally:
        user("server", "stop")
