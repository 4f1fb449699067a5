from __future__ import annotations

from typing import Any

import msgspec
import pytest
from control_server import Server, decode, manifest, plain

from portico.client import Client
from portico.wire.api import CallOutcome, CallRequest, CallStarted, Problem
from portico.wire.manifest import ParameterSpec


def request(app: str, payload: bytes, **options: Any) -> bytes:
    return msgspec.json.encode(
        CallRequest(
            app_id=app, function=options.pop("function", "work"), payload=payload, **options
        )
    )


def test_a_call_waits_for_its_outcome(server: Server) -> None:
    app = server.ship(manifest(plain())).app_id
    outcome = decode(server.http.post("/v1/calls", content=request(app, b"abc")), CallOutcome)
    assert (outcome.state, outcome.payload) == ("done", b"cba")


def test_an_exception_and_a_failed_start_are_outcomes(server: Server) -> None:
    app = server.ship(manifest(plain())).app_id
    raised = decode(server.http.post("/v1/calls", content=request(app, b"raise")), CallOutcome)
    assert (raised.state, raised.payload, raised.error) == ("failed", b"E", "ValueError")
    body = request(app, b"no container")
    failed = decode(server.http.post("/v1/calls", content=body), CallOutcome)
    assert failed.state == "failed"
    assert "Traceback: boom" in failed.error


@pytest.mark.parametrize("path", ["/v1/calls", "/v1/calls/spawn"])
def test_a_call_beyond_the_rate_is_429_and_the_client_tries_again(
    server: Server, path: str
) -> None:
    app = server.ship(manifest(plain())).app_id
    server.runtime.refusals = 1
    refused = server.http.post(path, content=request(app, b"abc"))
    assert (refused.status_code, refused.headers["retry-after"]) == (429, "1")
    assert "rate limit" in msgspec.json.decode(refused.content, type=Problem).detail
    server.runtime.refusals = 1
    with Client(server.url, server.token) as client:
        asked = CallRequest(app_id=app, function="work", payload=b"abc")
        if path == "/v1/calls":
            assert client.call(asked).payload == b"cba"
        else:
            assert client.call_result(client.spawn(asked), 5).payload == b"cba"
    assert server.runtime.refusals == -1


def test_a_call_that_may_not_wait_is_429_and_a_spawned_one_fails(server: Server) -> None:
    app = server.ship(manifest(plain())).app_id
    refused = server.http.post("/v1/calls", content=request(app, b"full"))
    assert (refused.status_code, refused.headers["retry-after"]) == (429, "3")
    body = request(app, b"full")
    started = decode(server.http.post("/v1/calls/spawn", content=body), CallStarted)
    outcome = decode(server.http.get(f"/v1/calls/{started.call_id}?timeout=5"), CallOutcome)
    assert outcome.state == "failed"
    assert "2000 inputs are waiting" in outcome.error


def test_a_spawned_call_can_be_asked_for(server: Server) -> None:
    app = server.ship(manifest(plain())).app_id
    server.runtime.hold.clear()
    body = request(app, b"abc")
    started = decode(server.http.post("/v1/calls/spawn", content=body), CallStarted)
    pending = decode(server.http.get(f"/v1/calls/{started.call_id}"), CallOutcome)
    assert pending.state == "pending"
    server.runtime.hold.set()
    for _ in range(2):
        response = server.http.get(f"/v1/calls/{started.call_id}?timeout=5")
        outcome = decode(response, CallOutcome)
        assert (outcome.state, outcome.payload) == ("done", b"cba")


def test_parameters_that_do_not_fit_are_422_and_named(server: Server) -> None:
    specs = (
        ParameterSpec(name="size", type="int"),
        ParameterSpec(name="key", type="bytes", required=False, default=""),
    )
    app = server.ship(manifest(plain(parameters=specs))).app_id
    for path in ("/v1/calls", "/v1/calls/spawn"):
        for given, name in (
            ({}, "size"),
            ({"size": "1"}, "size"),
            ({"size": True}, "size"),
            ({"size": 1, "key": "!"}, "key"),
            ({"size": 1, "colour": "red"}, "colour"),
        ):
            response = server.http.post(path, content=request(app, b"abc", parameters=given))
            assert response.status_code == 422
            assert f"'{name}'" in response.json()["detail"]
        good = request(app, b"abc", parameters={"size": 1, "key": "AA=="})
        assert server.http.post(path, content=good).status_code == 200


def test_unknown_functions_methods_and_calls_are_404(server: Server) -> None:
    app = server.ship(manifest(plain())).app_id
    for path in ("/v1/calls", "/v1/calls/spawn"):
        assert server.http.post(path, content=request("none", b"")).status_code == 404
        assert server.http.post(path, content=request(app, b"", function="x")).status_code == 404
        assert server.http.post(path, content=request(app, b"", method="x")).status_code == 404
    assert server.http.get("/v1/calls/fc-none").status_code == 404
