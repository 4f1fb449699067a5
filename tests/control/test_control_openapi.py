"""The API keeps to its own document whatever is sent to it: no 5xx, and only answers that are described.

Schemathesis makes the requests, half of them against the document. Its values are random, so half of the rest are
changed to name what exists: else nothing but 404 would come of most.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator
from typing import Any

import httpx
import msgspec
import pytest
import schemathesis
from control_server import Server, manifest, plain, running, web
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis.checks import CHECKS, load_all_checks
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.schemas import APIOperation, OpenApiSchema

from portico.wire.api import CreateProxyToken, CreateToken, PutSecret

EXAMPLES = 15  # for each operation and way of making them
NAMES = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_schema_conformance",
    "response_headers_conformance",
)
CONTENT = b"print('hello')"
DIGEST = hashlib.sha256(CONTENT).hexdigest()
FOLLOWING = ("true", "1", "yes", "on", "y", "t")  # what passes for true in a query
NEVER = ["/v1/blobs/{sha256}", "/v1/calls/{call_id}"]
"""Nothing random has a given digest, or is the id of a call."""
INTERNAL = "the server failed"  # what a stream says in place of a 500


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running(tmp_path_factory.mktemp("fuzzed")) as server:
        yield server


def furnish(server: Server) -> str:
    """Have an app, a file and a secret; the app's id."""
    server.put_blob(CONTENT)
    server.http.put("/v1/secrets/db", content=msgspec.json.encode(PutSecret(values={"K": "v"})))
    app_id: str = server.ship(manifest(web(), plain())).app_id
    return app_id


@pytest.fixture(scope="module")
def known(server: Server) -> dict[str, list[str]]:
    """Values of path parameters, and of fields in bodies, that name something."""
    app_id = furnish(server)
    run = server.create("run", ephemeral=True).app_id
    token = server.http.post("/v1/tokens", content=msgspec.json.encode(CreateToken(name="t")))
    proxy = msgspec.json.encode(CreateProxyToken(name="p"))
    key = server.http.post("/v1/proxy-tokens", content=proxy).json()["key"]
    apps = [app_id, "shop", run]
    return {
        "ref": apps,
        "app": apps,
        "app_id": apps,
        "function": ["hello", "work"],
        "container_id": [f"ta-{app_id}"],
        "name": ["db", "shop", "run"],
        "token_id": [token.json()["id"]],
        "key": [key],
        "sha256": [DIGEST],
        "image": ["base"],
        "environment": ["main", "other"],
        "payload": ["", "cmFpc2U=", "bm8gY29udGFpbmVy"],
    }


@pytest.fixture(scope="module")
def document(server: Server) -> OpenApiSchema:
    return schemathesis.openapi.from_dict(httpx.get(f"{server.url}/openapi.json").json())


def naming(draw: Any, value: Any, known: dict[str, list[str]], field: str = "") -> Any:
    """`value` with some of its fields changed to something `known`."""
    if isinstance(value, dict):
        return {key: naming(draw, one, known, key) for key, one in value.items()}
    if isinstance(value, list):
        return [naming(draw, one, known, field) for one in value]
    if field in known and isinstance(value, str) and draw(st.integers(0, 3)):
        return draw(st.sampled_from(known[field]))
    return value


def fitting(body: Any) -> Any:
    """A manifest with the parts without which no other part of it is looked at."""
    if not isinstance(body, dict) or not isinstance(body.get("functions", []), list):
        return body
    images = body.get("images")
    functions = [f for f in body.get("functions", []) if isinstance(f, dict)]
    for number, function in enumerate(functions):
        function |= {"image": "base", "is_class": False, "name": f"f{number}", "parameters": []}
        function["methods"] = function.get("methods", [])[:1] or [{}]
        function.pop("serialized", None)
    images = {"base": {}, **images} if isinstance(images, dict) else {"base": {}}
    return {**body, "name": "shop", "functions": functions, "images": images}


def calling(body: Any) -> Any:
    """A call of something that can be called."""
    if not isinstance(body, dict):
        return body
    return {**body, "app_id": "shop", "function": "work", "method": "", "parameters": {}}


def unchanged(body: Any) -> Any:
    return body


FITTING = {
    "/v1/apps/{ref}/versions": fitting,
    "/v1/calls": calling,
    "/v1/calls/spawn": calling,
}


def operations(document: OpenApiSchema) -> list[APIOperation]:
    found = [result.ok() for result in document.get_all_operations()]
    assert len(found) > 25
    # A session is a stream without end, and has tests of its own.
    return [operation for operation in found if not operation.path.endswith("/session")]


def test_no_request_makes_the_server_fail_or_answer_out_of_its_document(
    server: Server, known: dict[str, list[str]], document: OpenApiSchema
) -> None:
    load_all_checks()
    checks = CHECKS.get_by_names(NAMES)
    answers: Counter[int | str] = Counter()
    authorization = {"authorization": f"Bearer {server.token}"}

    def attack(operation: APIOperation, mode: GenerationMode) -> None:
        @settings(
            max_examples=EXAMPLES,
            derandomize=True,
            database=None,
            deadline=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(case=operation.as_strategy(generation_mode=mode), data=st.data())
        def send(case: Any, data: st.DataObject) -> None:
            if mode is GenerationMode.POSITIVE and data.draw(st.booleans()):
                for part in ("path_parameters", "query", "body"):
                    setattr(case, part, naming(data.draw, getattr(case, part), known))
                case.body = FITTING.get(operation.path, unchanged)(case.body)
            if case.query and str(case.query.get("follow")).lower() in FOLLOWING:
                case.query["follow"] = "false"  # a stream without end
            response = case.call(base_url=server.url, headers=authorization, timeout=30)
            answers[response.status_code] += 1
            answers[operation.path] += response.status_code < 300
            case.validate_response(response, checks=checks)
            assert INTERNAL not in response.text, response.text

        send()

    for operation in operations(document):
        furnish(server)  # the one before may have removed it
        attack(operation, GenerationMode.POSITIVE)
        if operation.path != "/healthz":  # which takes nothing, and so nothing wrong
            attack(operation, GenerationMode.NEGATIVE)
    # The attack got everywhere.
    assert {200, 204, 400, 404, 422} <= set(answers)
    assert [o.path for o in operations(document) if not answers[o.path]] == NEVER
    assert httpx.get(f"{server.url}/healthz").status_code == 200
