"""The control API towards those it should not serve, and towards requests that nobody means well with."""

from __future__ import annotations

import base64
import gzip
import hashlib
import hmac
import json
import socket
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import msgspec
import pytest
from control_server import Server, manifest, running, web
from starlette.routing import Route

from portico.control import tokens
from portico.control.api.auth import OPEN_PATHS
from portico.control.api.bodies import MAX_BODY, MAX_LARGE_BODY
from portico.control.errors import DeployError, InvalidRequestError
from portico.control.sources import MAX_PART, MAX_PATH, Sources, inventory
from portico.wire.api import CreateProxyToken, CreateToken, PutSecret
from portico.wire.image import FileEntry
from portico.wire.manifest import AppManifest

JSON = {"content-type": "application/json"}


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("strangers")


@pytest.fixture(scope="module")
def server(state: Path) -> Iterator[Server]:
    """One for all of them: none of them can do it any harm."""
    with running(state) as server:
        yield server


def exchange(server: Server, request: bytes) -> bytes:
    """What the server answers to these bytes, until it closes."""
    where = urlsplit(server.url)
    with socket.create_connection((where.hostname, where.port), timeout=10) as raw:
        raw.sendall(request)
        return b"".join(iter(lambda: raw.recv(65536), b""))


# ---- tokens


def test_no_route_of_the_app_is_reached_without_a_token(server: Server) -> None:
    """By the routes that the app has, not those that it describes; by every method, known or not."""
    routes = [route for route in _routes(server) if route.path not in OPEN_PATHS]
    assert len(routes) > 25
    before = server.http.get("/v1/apps").json()
    methods = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND")
    with httpx.Client(base_url=server.url) as http:
        for route in routes:
            for method in methods:
                for headers in ({}, {"authorization": "Bearer tk-0.x"}):
                    path = route.path.replace("{", "").replace("}", "")
                    answer = http.request(method, path, headers=headers, content=b"{}")
                    assert answer.status_code == 401, (method, path)
                    assert answer.headers["www-authenticate"] == "Bearer"
        for path in sorted(OPEN_PATHS):
            assert http.get(path).status_code == 200
    assert server.http.get("/v1/apps").json() == before


def _routes(server: Server) -> list[Route]:
    found: list[Route] = []

    def walk(routes: list[object]) -> None:
        for route in routes:
            if isinstance(route, Route):
                found.append(route)
            else:
                inner = getattr(route, "routes", None) or getattr(
                    getattr(route, "original_router", None), "routes", []
                )
                walk(list(inner))

    walk(list(server.control.api.routes))
    return found


@pytest.mark.parametrize(
    "path",
    [
        "/v1/server/",
        "//v1/server",
        "/V1/server",
        "/healthz/../v1/server",
        "/healthz%2f..%2fv1/server",
        "/v1/server?/healthz",
        "/v1/server;/healthz",
        "/healthz/",
        "/openapi.json/../v1/server",
        "http://127.0.0.1/v1/server",
        "http://127.0.0.1/healthz/../v1/server",
        "/v1/server#/healthz",
    ],
)
def test_no_way_of_writing_a_path_opens_a_route(server: Server, path: str) -> None:
    request = f"GET {path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"
    status = exchange(server, request.encode()).split(b" ")[1]
    assert status in (b"401", b"400")


@pytest.mark.parametrize(
    "request_lines",
    [
        "GET /v1/apps?token={token} HTTP/1.1\r\n",
        "GET /v1/apps?access_token={token} HTTP/1.1\r\n",
        "GET /v1/apps HTTP/1.1\r\nCookie: token={token}; authorization=Bearer {token}\r\n",
        "GET /v1/apps HTTP/1.1\r\nX-Authorization: Bearer {token}\r\n",
        "GET /v1/apps HTTP/1.1\r\nProxy-Authorization: Bearer {token}\r\n",
        "GET /v1/apps HTTP/1.1\r\nAuthorization: {token}\r\n",
        "GET /v1/apps HTTP/1.1\r\nAuthorization: Basic {basic}\r\n",
        "GET /v1/apps HTTP/1.1\r\nAuthorization: Bearer {token}x\r\n",
        "GET /v1/apps HTTP/1.1\r\nAuthorization: Bearer {token}, Bearer x\r\n",
        "GET /v1/apps HTTP/1.1\r\nAuthorization: Bearer tk-0.x\r\nAuthorization: Bearer {token}\r\n",
    ],
)
def test_a_token_counts_in_its_header_alone(server: Server, request_lines: str) -> None:
    basic = base64.b64encode(server.token.encode()).decode()
    request = request_lines.format(token=server.token, basic=basic)
    answer = exchange(server, f"{request}Host: h\r\nConnection: close\r\n\r\n".encode())
    assert answer.startswith(b"HTTP/1.1 401 ")


def test_tokens_are_compared_in_constant_time_and_by_their_digest(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    compared: list[tuple[bytes, bytes]] = []
    original = hmac.compare_digest

    def compare(given: bytes, held: bytes) -> bool:
        compared.append((given, held))
        return original(given, held)

    monkeypatch.setattr(tokens.hmac, "compare_digest", compare)
    wrong = server.token[:-1] + ("A" if server.token[-1] != "A" else "B")
    for token in (server.token, wrong):
        httpx.get(f"{server.url}/v1/apps", headers={"authorization": f"Bearer {token}"})
    digests = [hashlib.sha256(token.encode()).digest() for token in (server.token, wrong)]
    assert compared == [(digests[0], digests[0]), (digests[1], digests[0])]


@pytest.mark.parametrize(
    "token", ["x", "x" * 60_000, "tk-" + "a" * 10_000, "tk-é.x", "tk-0.", "'--"]
)
def test_what_is_no_token_costs_the_store_nothing(
    server: Server, token: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def find(token_id: str) -> None:
        raise AssertionError(token_id)

    monkeypatch.setattr(server.control._tokens._store, "find", find)
    headers = {"authorization": f"Bearer {token}".encode()}
    assert httpx.get(f"{server.url}/v1/apps", headers=headers).status_code == 401


# ---- browsers


def test_a_page_of_another_origin_can_neither_read_nor_do_anything(server: Server) -> None:
    """Nothing is taken from what a browser sends by itself, and no origin is told that it may ask."""
    page = {"origin": "https://evil.example", "referer": "https://evil.example/"}
    preflight = {**page, "access-control-request-method": "POST"}
    preflight["access-control-request-headers"] = "authorization"
    body = json.dumps({"name": "evil"})
    with httpx.Client(base_url=server.url) as http:
        answers = [
            http.options("/v1/apps", headers=preflight),
            http.post("/v1/apps", content=body, headers={**page, "content-type": "text/plain"}),
            http.post("/v1/apps", data={body: ""}, headers=page),
            http.get("/v1/apps", headers={**page, "host": "rebound.evil.example"}),
            http.get("/openapi.json", headers=page),
            http.get("/healthz", headers=page),
        ]
    assert [answer.status_code for answer in answers] == [401, 401, 401, 401, 200, 200]
    # Even a right token does not make it a friend of browsers.
    answers.append(server.http.get("/v1/apps", headers=page))
    answers.append(server.http.options("/v1/apps", headers=preflight))
    for answer in answers:
        assert not [name for name in answer.headers if name.startswith("access-control-")]
        assert "set-cookie" not in answer.headers
    assert "evil" not in server.http.get("/v1/apps").text


def test_answers_are_kept_by_no_cache_and_taken_for_nothing_else(server: Server) -> None:
    made = server.http.post("/v1/tokens", content=msgspec.json.encode(CreateToken(name="ci")))
    app = server.ship(manifest()).app_id
    answers = [
        made,
        server.http.get("/v1/nowhere"),
        server.http.get(f"/v1/apps/{app}/logs"),
        server.http.delete(f"/v1/tokens/{made.json()['id']}"),
        httpx.get(f"{server.url}/v1/apps"),
        httpx.get(f"{server.url}/openapi.json"),
    ]
    for answer in answers:
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "default-src 'none'" in answer.headers["content-security-policy"]


# ---- bodies


def without_length(server: Server, path: str, size: int) -> bytes:
    """The answer to a body in chunks that nobody announced; sending ends with the answer."""
    where = urlsplit(server.url)
    head = f"POST {path} HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {server.token}\r\n"
    piece = b"%x\r\n%b\r\n" % (65536, b" " * 65536)
    with socket.create_connection((where.hostname, where.port), timeout=10) as raw:
        raw.sendall(f"{head}Transfer-Encoding: chunked\r\n\r\n".encode())
        for _ in range(0, size, 65536):
            raw.sendall(piece)
        raw.sendall(b"0\r\n\r\n")
        return raw.recv(65536)


def test_every_body_is_bounded_declared_or_counted(server: Server) -> None:
    app = server.create("shop").app_id
    bounds = {
        "/v1/apps": MAX_BODY,
        "/v1/tokens": MAX_BODY,
        "/v1/proxy-tokens": MAX_BODY,
        "/v1/blobs/missing": MAX_LARGE_BODY,
        "/v1/calls": MAX_LARGE_BODY,
        "/v1/calls/spawn": MAX_LARGE_BODY,
        f"/v1/apps/{app}/versions": MAX_LARGE_BODY,
    }
    head = f" HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {server.token}\r\n"
    for path, limit in bounds.items():
        # Refused by what it says, before any of it is there.
        declared = f"POST {path}{head}Connection: close\r\nContent-Length: {limit + 1}\r\n\r\n"
        assert exchange(server, declared.encode()).startswith(b"HTTP/1.1 413 "), path
    assert without_length(server, "/v1/apps", MAX_BODY + 65536).startswith(b"HTTP/1.1 413 ")
    assert (
        without_length(server, "/v1/apps", MAX_BODY - 65536)[9:12] == b"400"
    )  # nothing but spaces
    secret = msgspec.json.encode(PutSecret(values={"K": "v" * MAX_BODY}))
    assert server.http.put("/v1/secrets/big", content=secret).status_code == 413
    blob = f"PUT /v1/blobs/{'0' * 64}{head}Connection: close\r\nContent-Length: {(4 << 30) + 1}\r\n\r\n"
    assert exchange(server, blob.encode()).startswith(b"HTTP/1.1 413 ")


@pytest.mark.parametrize("path", ["/v1/apps", "/v1/calls", "/v1/tokens", "/v1/blobs/missing"])
@pytest.mark.parametrize(
    "body",
    [
        b'{"unknown": ' + b"[" * 100_000,
        b'{"unknown": ' + b'{"a":' * 100_000,
        b"[" * 1_000_000,
        gzip.compress(b'{"name": "small"}'),
        b"\xff\xfe{}",
        b'{"name": "\\ud800"}',
        b'{"name": "\xff", "unknown": "\xff"}',
        b"\0" * 1000,
        b"null",
        b"",
    ],
    ids=["deep lists", "deep objects", "lists alone", "gzip", "utf-16", "surrogate", "latin-1", "zeros", "null", "none"],
)  # fmt: skip
def test_bodies_that_mean_nothing_are_refused(server: Server, path: str, body: bytes) -> None:
    headers = {"content-encoding": "gzip"} if body[:2] == b"\x1f\x8b" else {}
    answer = server.http.post(path, content=body, headers={**JSON, **headers})
    assert answer.status_code == 400
    assert answer.headers["content-type"] == "application/problem+json"
    assert len(answer.content) < 2000


@pytest.mark.parametrize(
    "function",
    [
        {"memory": 10**30},
        {"memory": -1},
        {"timeout": -1},
        {"cpu": 0},
        {"scaling": {"max_containers": 10**30}},
        {"scaling": {"min_containers": -1}},
        {"scaling": {"scaledown_window": -1}},
        {"methods": [{"web": {"kind": "web_server", "port": 65536}}]},
        {"methods": [{"web": {"kind": "web_server", "port": 0}}]},
        {"retries": {"max_retries": 10**30}},
    ],
)
def test_numbers_that_no_function_can_have_are_refused(
    server: Server, function: dict[str, object]
) -> None:
    whole = {
        "name": "f",
        "module": "m",
        "qualname": "f",
        "image": "base",
        "methods": [{}],
        **function,
    }
    body = {"name": "shop", "functions": [whole], "images": {"base": {}}}
    answer = server.http.post(f"/v1/apps/{server.create('shop').app_id}/versions", json=body)
    assert answer.status_code == 400
    assert "$.functions[0]" in answer.json()["detail"]


# ---- files


def entry(path: str, content: bytes = b"x") -> FileEntry:
    return FileEntry(path=path, sha256=hashlib.sha256(content).hexdigest(), size=len(content))


HOSTILE = [
    "../evil.py",
    "a/../../evil.py",
    "/etc/cron.d/evil",
    "/root/../etc/evil",
    "/root",
    "..",
    "a\0b",
    "x" * (MAX_PART + 1),
    "é" * (MAX_PART // 2 + 1),
    "/".join(["d" * 200] * (MAX_PATH // 200 + 1)),
]


@pytest.mark.parametrize("path", HOSTILE, ids=range(len(HOSTILE)))
def test_files_with_a_path_of_their_own_choice_end_the_deploy(
    server: Server, state: Path, path: str
) -> None:
    before = sorted(p.name for p in state.parent.iterdir())
    activated = len(server.runtime.activated)
    file = msgspec.structs.replace(server.put_blob(b"evil"), path=path)
    app = server.create("shop").app_id
    (event,) = server.deploy(app, manifest(web(), files=(file,)))[-1:]
    assert "file " in event.message
    assert "see its log" not in event.message
    assert len(server.runtime.activated) == activated
    assert list((state / "sources").rglob("*evil*")) == []
    assert sorted(p.name for p in state.parent.iterdir()) == before


# Names that are odd and harmless: each is a file of its own below the folder.
ODD = [
    "..a",
    "a..",
    "...",
    "a\\..\\b",
    "C:\\x",
    "~",
    "-rf",
    "\u202egnp.py",
    "e\u0301",
    "\u00e9",
    "a b",
    "*",
]


def test_odd_names_are_files_of_their_own(server: Server, state: Path) -> None:
    blob = server.put_blob(b"odd")
    files = tuple(msgspec.structs.replace(blob, path=name) for name in ODD)
    done = server.ship(manifest(web(), files=files))
    root = Path(server.runtime.active[done.app_id].source_root)
    assert root.parent == state / "sources"
    assert sorted(p.name for p in root.iterdir()) == sorted(ODD)
    assert all(p.is_file() and not p.is_symlink() for p in root.iterdir())


def test_two_files_at_one_place_are_refused() -> None:
    with pytest.raises(InvalidRequestError, match="two different files"):
        inventory(AppManifest(name="shop", files=(entry("a.py", b"1"), entry("./a.py", b"2"))))
    same = AppManifest(name="shop", files=(entry("a.py"), entry("a.py")))
    assert list(inventory(same)) == ["a.py"]


def test_a_copy_never_goes_through_a_name_that_is_there(tmp_path: Path) -> None:
    """On a disk that takes A for a, the second of them could be written into the blob of the first."""
    blob = tmp_path / "blob"
    blob.write_bytes(b"precious")
    target = tmp_path / "A"
    target.hardlink_to(blob)
    other = tmp_path / "other"
    other.write_bytes(b"x")

    class OneBlob:
        def path(self, digest: str) -> Path:
            return other

    with pytest.raises(DeployError, match="rename one"):
        Sources(tmp_path, OneBlob())._add(target, entry("a"))  # type: ignore[arg-type]
    assert blob.read_bytes() == b"precious"


# ---- words


@pytest.mark.parametrize("name", ["a\nb", "\x1b[2J", "\u202eexe", "x" * 65, "a\0"])
def test_names_that_would_disturb_a_listing_are_refused(server: Server, name: str) -> None:
    token = server.http.post("/v1/tokens", content=msgspec.json.encode(CreateToken(name=name)))
    body = msgspec.json.encode(CreateProxyToken(name=name))
    proxy_token = server.http.post("/v1/proxy-tokens", content=body)
    secret = msgspec.json.encode(PutSecret(values={name: "v"}))
    assert (token.status_code, proxy_token.status_code) == (400, 400)
    if not name.isprintable():
        assert server.http.put("/v1/secrets/s", content=secret).status_code == 400


def test_errors_tell_nothing_of_the_server_to_strangers(server: Server, state: Path) -> None:
    for method, path in (
        ("GET", "/v1/apps"),
        ("POST", "/v1/../etc"),
        ("GET", "/%00"),
        ("PUT", "/x"),
    ):
        answer = httpx.request(method, f"{server.url}{path}")
        assert answer.status_code == 401
        for inside in (str(state), "Traceback", "starlette", "sqlite", "portico/"):
            assert inside not in answer.text
        assert len(answer.text) < 300
