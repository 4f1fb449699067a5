from __future__ import annotations

import hashlib
import http.client
import re

import httpx
import msgspec
import pytest
from control_server import Server, decode, manifest

from portico.wire.api import (
    CreateToken,
    MissingBlobs,
    Problem,
    PutSecret,
    SecretInfo,
    ServerInfo,
    TokenInfo,
)

JSON = "application/json"


def operations(server: Server) -> list[tuple[str, str]]:
    document = httpx.get(f"{server.url}/openapi.json").json()
    found = [
        (method.upper(), re.sub(r"\{\w+\}", "x", path))
        for path, methods in document["paths"].items()
        for method in methods
    ]
    assert len(found) > 25
    return found


def problem_of(response: httpx.Response) -> Problem:
    assert response.headers["content-type"] == "application/problem+json"
    found = msgspec.json.decode(response.content, type=Problem)
    assert found.status == response.status_code
    assert found.request_id == response.headers["x-request-id"]
    return found


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"authorization": "Bearer"},
        {"authorization": "Bearer tk-0.x"},
        {"authorization": "Basic dDp0"},
    ],
)
def test_every_route_wants_the_token(server: Server, headers: dict[str, str]) -> None:
    for method, path in [*operations(server), ("GET", "/nowhere"), ("GET", "/v1/../v1/apps")]:
        if path == "/healthz":
            continue
        response = httpx.request(method, f"{server.url}{path}", headers=headers)
        assert response.status_code == 401, (method, path)
        assert response.headers["www-authenticate"] == "Bearer"
        problem_of(response)


def test_a_right_id_with_a_wrong_secret_is_refused(server: Server) -> None:
    token = f"{server.token.partition('.')[0]}.wrong"
    response = httpx.get(f"{server.url}/v1/apps", headers={"authorization": f"Bearer {token}"})
    assert response.status_code == 401


def test_health_and_the_document_are_open(server: Server) -> None:
    assert httpx.get(f"{server.url}/healthz").text == "ok\n"
    document = httpx.get(f"{server.url}/openapi.json").json()
    schemas = document["components"]["schemas"]
    assert {"AppInfo", "AppManifest", "Deployed", "LogLine", "Problem"} <= set(schemas)
    text = msgspec.json.encode(document).decode()
    for reference in re.findall(r"#/components/schemas/(\w+)", text):
        assert reference in schemas


def test_errors_of_the_framework_are_problems_too(server: Server) -> None:
    assert problem_of(server.http.get("/nowhere")).title == "Not Found"
    assert problem_of(server.http.patch("/v1/apps")).status == 405
    assert "tail" in problem_of(server.http.get("/v1/apps/x/logs?tail=-1")).detail
    assert problem_of(server.http.post("/v1/apps", content=b"{")).status == 400
    assert "CreateApp" in problem_of(server.http.post("/v1/apps", content=b'{"name": 1}')).detail
    assert problem_of(server.http.get("/v1/apps/none")).status == 404
    assert problem_of(server.http.post("/v1/apps", content=b'{"name": "-"}')).status == 400


def test_the_server_tells_its_counts(server: Server) -> None:
    server.ship(manifest())
    info = decode(server.http.get("/v1/server"), ServerInfo)
    assert (info.apps, info.containers) == (1, 1)


def test_blobs_are_asked_for_once(server: Server) -> None:
    content = b"some source"
    digest = hashlib.sha256(content).hexdigest()
    body = msgspec.json.encode(MissingBlobs(digests=[digest, digest]))
    asked = decode(server.http.post("/v1/blobs/missing", content=body), MissingBlobs)
    assert asked.digests == [digest]
    server.put_blob(content)
    asked = decode(server.http.post("/v1/blobs/missing", content=body), MissingBlobs)
    assert asked.digests == []


@pytest.mark.parametrize(
    "name", ["..", "..%2F..%2Fkey", "%2e%2e%2fkey", "%2Fetc%2Fpasswd", "A" * 64, "a" * 63, "a" * 65]
)
def test_a_blob_name_that_is_no_digest_is_refused(server: Server, name: str) -> None:
    # httpx would tidy the path up before it leaves.
    connection = http.client.HTTPConnection(server.url.removeprefix("http://"))
    headers = {"authorization": f"Bearer {server.token}"}
    connection.request("PUT", f"/v1/blobs/{name}", body=b"x", headers=headers)
    assert connection.getresponse().status in (400, 404, 405)
    connection.close()


def test_a_blob_of_other_content_is_refused(server: Server) -> None:
    digest = hashlib.sha256(b"right").hexdigest()
    assert server.http.put(f"/v1/blobs/{digest}", content=b"wrong").status_code == 400
    body = msgspec.json.encode(MissingBlobs(digests=[digest]))
    asked = decode(server.http.post("/v1/blobs/missing", content=body), MissingBlobs)
    assert asked.digests == [digest]


def test_secrets_are_listed_without_values(server: Server) -> None:
    body = msgspec.json.encode(PutSecret(values={"USER": "u", "KEY": "hidden"}))
    made = decode(server.http.put("/v1/secrets/db", content=body), SecretInfo)
    assert server.http.put("/v1/secrets/db", content=body).status_code == 409
    body = msgspec.json.encode(PutSecret(values={"KEY": "hidden"}, overwrite=True))
    again = decode(server.http.put("/v1/secrets/db", content=body), SecretInfo)
    assert (again.id, again.keys, again.created_at) == (made.id, ["KEY"], made.created_at)
    response = server.http.get("/v1/secrets")
    assert decode(response, list[SecretInfo]) == [again]
    assert "hidden" not in response.text
    assert server.http.delete("/v1/secrets/db").status_code == 204
    assert server.http.delete("/v1/secrets/db").status_code == 404


def test_secret_names_and_keys_are_checked(server: Server) -> None:
    body = msgspec.json.encode(PutSecret(values={"A=B": "x"}))
    assert server.http.put("/v1/secrets/db", content=body).status_code == 400
    body = msgspec.json.encode(PutSecret(values={"A": "x"}))
    assert server.http.put("/v1/secrets/-db", content=body).status_code == 400


@pytest.mark.parametrize(
    "body",
    [
        b'{"values": {"KEY": "hidden", "N": 1}}',
        b'{"values": "hidden"}',
        b'{"values": {"KEY": "hidden"',
        b'{"values": {"KEY": "hidden\\u0000"}}',
        b'{"values": {"KEY=": "hidden"}}',
        b'{"values": {"KEY": "hidden"}, "overwrite": "hidden"}',
    ],
)
def test_a_secret_that_is_refused_is_not_repeated(server: Server, body: bytes) -> None:
    refused = server.http.put("/v1/secrets/db", content=body)
    assert refused.status_code == 400
    assert "hidden" not in refused.text
    assert server.http.get("/v1/secrets").json() == []


def test_a_token_works_until_it_is_revoked(server: Server) -> None:
    body = msgspec.json.encode(CreateToken(name="ci"))
    made = decode(server.http.post("/v1/tokens", content=body), TokenInfo)
    assert made.secret is not None
    headers = {"authorization": f"Bearer {made.secret}"}
    assert httpx.get(f"{server.url}/v1/apps", headers=headers).status_code == 200
    listed = server.http.get("/v1/tokens")
    assert [token.name for token in decode(listed, list[TokenInfo])] == ["ci", "test"]
    assert made.secret not in listed.text
    assert server.http.delete(f"/v1/tokens/{made.id}").status_code == 204
    assert httpx.get(f"{server.url}/v1/apps", headers=headers).status_code == 401
    assert server.http.delete(f"/v1/tokens/{made.id}").status_code == 404


def test_containers_are_listed_and_stopped(server: Server) -> None:
    done = server.ship(manifest())
    server.ship(manifest(name="other"))
    assert len(server.http.get("/v1/containers").json()) == 2
    (container,) = server.http.get("/v1/containers", params={"app": "shop"}).json()
    assert container["app_id"] == done.app_id
    assert server.http.post(f"/v1/containers/{container['container_id']}/stop").status_code == 204
    assert server.http.post("/v1/containers/ta-none/stop").status_code == 404
    assert server.http.get("/v1/containers/ta-none/logs").status_code == 404


def test_a_fault_of_the_server_is_a_problem_without_its_insides(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(app_id: str | None = None) -> list[object]:
        raise RuntimeError("the insides")

    monkeypatch.setattr(server.runtime, "containers", fail)
    response = server.http.get("/v1/server")
    assert problem_of(response).status == 500
    assert "insides" not in response.text


def test_metrics_are_text_as_the_scraper_asks_and_for_holders_of_a_token(server: Server) -> None:
    assert httpx.get(f"{server.url}/metrics").status_code == 401
    response = server.http.get("/metrics", headers={"accept": "application/openmetrics-text"})
    assert response.text == "up 1\n"
    assert response.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert server.meters.accepted == ["application/openmetrics-text"]
