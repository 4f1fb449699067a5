"""What an operator sees of a running server: its metrics, its access log, and the ids that join them."""

from __future__ import annotations

import json
import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from driver import Deployed, Portico, alive, client, get, until
from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as parse_openmetrics,
)
from prometheus_client.parser import text_string_to_metric_families as parse_text
from websockets.sync.client import connect

APP = """
    import modal

    image = IMAGE
    app = modal.App("watched", image=image)
    with image.imports():
        from fastapi import HTTPException, Request, WebSocket

    @app.function()
    @modal.fastapi_endpoint()
    def hello(request: "Request", status: int = 200):
        if status != 200:
            raise HTTPException(status)
        return dict(request.headers)

    @app.cls()
    @modal.concurrent(max_inputs=10)
    class Rooms:
        name: str = modal.parameter(default="main")

        @modal.asgi_app()
        def talk(self):
            from fastapi import FastAPI

            web = FastAPI()

            @web.websocket("/ws")
            async def socket(socket: WebSocket):
                await socket.accept()
                await socket.send_text(await socket.receive_text())
                await socket.close()

            return web
"""
Labels = dict[str, str]
HELLO = {"environment": "main", "app": "watched", "function": "hello", "ephemeral": "false"}


class Watched(Portico):
    """A user with a server that keeps an access log in the user's folder, named as the user would name it."""

    app: Deployed

    @property
    def log(self) -> Path:
        return self.work / "access.log"

    def lines(self, path: Path | None = None) -> list[dict[str, Any]]:
        text = (path or self.log).read_text("ascii")
        assert text == "" or text.endswith("\n")
        return [json.loads(line) for line in text.splitlines()]

    def line_of(self, request_id: str) -> dict[str, Any]:
        """The line of a request, once it is written."""

        def found() -> list[dict[str, Any]]:
            return [line for line in self.lines() if line["request_id"] == request_id]

        (line,) = until(found, f"a line of {request_id}")
        return line

    @property
    def api(self) -> dict[str, str]:
        record: dict[str, str] = json.loads((self.state / "client.json").read_text())
        return record

    def scrape(self, **headers: str) -> Any:
        headers.setdefault("authorization", f"Bearer {self.api['token']}")
        return get(f"{self.api['url']}/metrics", headers=headers)

    def samples(self, name: str, labels: Labels) -> list[float]:
        """All samples of that name that have these labels."""
        return [
            sample.value
            for family in parse_text(self.scrape().text)
            for sample in family.samples
            if sample.name == name and labels.items() <= sample.labels.items()
        ]

    def sample(self, name: str, labels: Labels | None = None) -> float:
        """Their sum."""
        return sum(self.samples(name, labels or {}))


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory, images: Path) -> Iterator[Watched]:
    with Watched(tmp_path_factory.mktemp("watched"), images) as user:
        user.start_server("--access-log", "access.log")
        user.app = user.deploy("watched.py", APP)
        yield user


def test_a_cold_start_is_told_in_the_answer_the_metrics_and_the_log(watched: Watched) -> None:
    url = watched.app.url("hello")
    cold = get(url, params={"key": "geheim"}, headers={"user-agent": "probe/1"})
    warm = get(url, headers={"traceparent": f"00-{'a' * 32}-{'b' * 16}-01", "tracestate": "x=y"})
    assert re.fullmatch(
        r"queue;dur=\d+\.\d, boot;dur=\d+\.\d, import;dur=\d+\.\d", cold.headers["server-timing"]
    )
    assert "server-timing" not in warm.headers

    line = watched.line_of(cold.headers["x-request-id"])
    assert line["cold_start"] == {
        name: float(value)
        for name, value in re.findall(r"(\w+);dur=([\d.]+)", cold.headers["server-timing"])
    }
    assert (line["app"], line["function"], line["environment"]) == ("watched", "hello", "main")
    assert (line["status"], line["outcome"], line["path"]) == (200, "answered", "/")
    assert (line["client"], line["user_agent"]) == ("127.0.0.1", "probe/1")
    assert line["container"] in [c["container_id"] for c in watched.containers("watched", "hello")]
    assert cold.json()["traceparent"][3:35] == line["trace_id"]
    assert warm.json()["traceparent"] == f"00-{'a' * 32}-{'b' * 16}-01"
    assert warm.json()["tracestate"] == "x=y"
    line = watched.line_of(warm.headers["x-request-id"])
    assert (line["trace_id"], line["cold_start"]) == ("a" * 32, None)
    assert "geheim" not in watched.log.read_text()

    for phase in ("queue", "boot", "import"):
        count = watched.sample("portico_cold_start_seconds_count", {**HELLO, "phase": phase})
        assert count == 1
    assert watched.sample("portico_container_starts_total", HELLO) == 1
    assert watched.sample("portico_container_start_failures_total", HELLO) == 0
    assert watched.sample("portico_containers", {**HELLO, "state": "ready"}) == 1


def test_requests_are_counted_by_function_status_and_outcome(watched: Watched) -> None:
    def requests(labels: Labels) -> float:
        return watched.sample("portico_requests_total", labels)

    answered = {**HELLO, "outcome": "answered"}
    before = {status: requests({**answered, "status": status}) for status in ("2xx", "4xx")}
    timed = watched.sample("portico_request_duration_seconds_count", HELLO)
    strays = requests({"app": "", "outcome": "not_found", "status": "4xx"})
    with client() as http:
        for status in (200, 200, 418):
            assert (
                http.get(watched.app.url("hello"), params={"status": status}).status_code == status
            )
        assert http.get(watched.web_url, headers={"host": "nobody.localhost"}).status_code == 404
        assert watched.sample("portico_client_connections") >= 1
    assert requests({**answered, "status": "2xx"}) == before["2xx"] + 2
    assert requests({**answered, "status": "4xx"}) == before["4xx"] + 1
    assert watched.sample("portico_request_duration_seconds_count", HELLO) == timed + 3
    assert requests({"app": "", "outcome": "not_found", "status": "4xx"}) == strays + 1


def test_pools_of_a_class_are_summed_and_a_websocket_is_one(watched: Watched) -> None:
    url = watched.app.url("Rooms.talk").replace("http://", "ws://")
    rooms = {**HELLO, "function": "Rooms"}
    for name in ("a", "b"):
        with connect(f"{url}/ws?name={name}") as socket:
            running = watched.sample("portico_inputs_running", rooms)
            open_now = watched.sample("portico_websockets")
            assert (running, open_now) == (1, 1)
            socket.send("hi")
            assert socket.recv() == "hi"
    assert watched.sample("portico_containers", {**rooms, "state": "ready"}) == 2
    upgraded = {**HELLO, "function": "Rooms.talk", "outcome": "upgraded"}
    assert watched.sample("portico_requests_total", upgraded) == 2
    until(lambda: watched.sample("portico_websockets") == 0, "the end of the WebSockets")
    lines = until(
        lambda: [x for x in watched.lines() if x["function"] == "Rooms.talk"][1:], "two lines"
    )
    assert lines[-1]["status"] == 101


def test_metrics_want_the_token_and_come_in_both_formats(watched: Watched) -> None:
    assert watched.scrape(authorization="").status_code == 401
    text = watched.scrape()
    assert text.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    openmetrics = watched.scrape(accept="application/openmetrics-text; version=1.0.0")
    assert openmetrics.headers["content-type"].startswith("application/openmetrics-text")
    names = {family.name for family in parse_openmetrics(openmetrics.text)}
    assert {"portico_requests", "portico_build", "process_cpu_seconds"} <= names
    assert watched.scrape(accept="application/openmetrics-text;version=no").status_code == 200
    assert watched.sample("process_resident_memory_bytes") > 10 << 20
    assert watched.sample("portico_event_loop_lag_seconds_count") > 0


def test_numbers_of_a_stopped_app_stay_and_its_gauges_go(watched: Watched) -> None:
    gone = watched.deploy("gone.py", APP.replace('"watched"', '"gone"'))
    assert get(gone.url("hello")).status_code == 200
    labels = {**HELLO, "app": "gone"}
    assert watched.sample("portico_containers", {**labels, "state": "ready"}) == 1
    watched("app", "stop", "gone")
    until(lambda: watched.samples("portico_containers", labels) == [], "the end of its gauges")
    assert watched.sample("portico_requests_total", labels) == 1


def test_the_log_is_rotated_and_no_hangup_ends_the_server(watched: Watched) -> None:
    old = watched.work / "access.log.1"
    assert watched.log.stat().st_mode & 0o037 == 0
    first = get(watched.app.url("hello")).headers["x-request-id"]
    watched.line_of(first)
    watched.log.rename(old)
    pid = int(watched.api["pid"])
    second = get(watched.app.url("hello")).headers["x-request-id"]
    os.kill(pid, signal.SIGHUP)  # as a rotation script does
    until(watched.log.exists, "a new file")
    watched.line_of(second)
    assert first in [line["request_id"] for line in watched.lines(old)]
    assert alive(pid)


def test_a_server_that_stops_has_written_every_line(user: Portico) -> None:
    server = user.start_server("--access-log", "-")
    url = f"{user.web_url}/"
    ids = [get(url, headers={"host": "x"}).headers["x-request-id"] for _ in range(20)]
    server.send(signal.SIGTERM)
    assert server.wait() == 0
    written = [json.loads(x) for x in server.output.splitlines() if x.startswith("{")]
    assert [line["request_id"] for line in written] == ids
    assert {line["outcome"] for line in written} == {"not_found"}


def test_an_access_log_that_cannot_be_written_is_said_at_the_start(user: Portico) -> None:
    refused = user("server", "run", "--access-log", "no/such/folder/access.log", status=1)
    assert "access log" in refused.stderr
    assert str(user.work / "no/such/folder/access.log") in refused.stderr
    assert "Traceback" not in refused.stderr
    user("config", "set", "access_log", "/dev/null")
    assert user.json("config", "show")["settings"]["access_log"]["value"] == "/dev/null"


def test_a_background_server_logs_where_its_user_said(user: Portico) -> None:
    user("server", "start", "--access-log", "mine.log")
    try:
        web = user.json("server", "status")["web_url"]
        request_id = get(web, headers={"host": "x"}).headers["x-request-id"]
    finally:
        user("server", "stop")
    (line,) = (user.work / "mine.log").read_text().splitlines()
    assert json.loads(line)["request_id"] == request_id
