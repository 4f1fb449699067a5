"""Web functions behind proxy tokens: who gets in, what wakes, and when a token counts."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

import pytest
from driver import DEADLINE, Deployed, Portico, client, get, until
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

GUARDED = """
    import modal

    image = IMAGE
    app = modal.App("NAME", image=image)
    with image.imports():
        from fastapi import Request

    @app.function()
    @modal.fastapi_endpoint(docs=True, requires_proxy_auth=True)
    def vault(request: "Request"):
        return dict(request.headers)

    @app.function(allow_concurrent_inputs=10)
    @modal.asgi_app(requires_proxy_auth=True)
    def talk():
        from fastapi import FastAPI, WebSocket

        web = FastAPI()

        @web.get("/headers")
        async def headers(request: Request):
            return dict(request.headers)

        @web.websocket("/headers")
        async def socket(socket: WebSocket):
            await socket.accept()
            await socket.send_json(dict(socket.headers))
            await socket.close()

        return web

    @app.function()
    @modal.fastapi_endpoint()
    def lobby(request: "Request"):
        return dict(request.headers)
"""
Pair = dict[str, str]


def headers_of(token: dict[str, str]) -> Pair:
    return {"Modal-Key": token["key"], "Modal-Secret": token["secret"]}


def bearer_of(token: dict[str, str]) -> Pair:
    return {"Authorization": f"Bearer {token['key']}.{token['secret']}"}


@pytest.fixture(scope="module")
def guarded(server: Portico) -> Deployed:
    return server.deploy("guarded.py", GUARDED.replace("NAME", "guarded"))


@pytest.fixture
def token(server: Portico) -> Iterator[dict[str, str]]:
    made = server.json("proxy-token", "create", "for a test")
    yield made
    if made["key"] in [one["key"] for one in server.json("proxy-token", "list")]:
        server("proxy-token", "revoke", made["key"])


def shake_hands(url: str, headers: Pair) -> dict[str, str]:
    """The headers that the app saw of a WebSocket's handshake."""
    address = url.replace("http://", "ws://") + "/headers"
    options = {"proxy": None, "open_timeout": DEADLINE, "additional_headers": headers}
    with connect(address, **options) as socket:
        return json.loads(socket.recv(DEADLINE))


def test_a_stranger_gets_401_and_wakes_no_container(
    guarded: Deployed, server: Portico, token: dict[str, str]
) -> None:
    wrong: list[Pair] = [
        {},
        {**headers_of(token), "Modal-Secret": "ws-wrong"},
        {"Modal-Key": token["key"]},
        bearer_of({**token, "secret": "ws-wrong"}),
    ]
    for function, paths in (("vault", ["/", "/docs", "/openapi.json"]), ("talk", ["/headers"])):
        host, port = guarded.urls[function][:2]
        for path in paths:
            for headers in wrong:
                refused = get(f"{port}{path}", headers=headers)
                assert refused.status_code == 401
                assert "portico proxy-token create" in refused.json()["detail"]
                by_host = {**headers, "host": host.removeprefix("http://")}
                assert get(f"{server.web_url}{path}", headers=by_host).status_code == 401
    for headers in wrong:
        with pytest.raises(InvalidStatus) as handshake:
            shake_hands(guarded.url("talk"), headers)
        assert handshake.value.response.status_code == 401
    assert server.containers("guarded", "vault") == []
    assert server.containers("guarded", "talk") == []
    assert server.json("app", "logs", "guarded", "--tail", "1000") == []


@pytest.mark.parametrize("credentials", [headers_of, bearer_of])
def test_the_holder_of_a_token_gets_in_and_the_app_does_not_see_it(
    guarded: Deployed, token: dict[str, str], credentials: Callable[[dict[str, str]], Pair]
) -> None:
    given = credentials(token)
    for seen in (
        get(guarded.url("vault"), headers=given).json(),
        get(guarded.url("talk") + "/headers", headers=given).json(),
        shake_hands(guarded.url("talk"), given),
    ):
        assert not {"modal-key", "modal-secret", "authorization"} & set(seen)
        assert token["secret"] not in str(seen)
    assert get(guarded.url("vault") + "/docs", headers=given).status_code == 200
    assert "/" in get(guarded.url("vault") + "/openapi.json", headers=given).json()["paths"]


def test_an_authorization_of_the_apps_own_passes(guarded: Deployed, token: dict[str, str]) -> None:
    own = {"Authorization": "Bearer of-the-app"}
    assert get(guarded.url("vault"), headers={**own, **headers_of(token)}).json()[
        "authorization"
    ] == ("Bearer of-the-app")
    assert shake_hands(guarded.url("talk"), {**own, **headers_of(token)})["authorization"]
    seen = get(guarded.url("lobby"), headers={**bearer_of(token), **headers_of(token)}).json()
    assert {"authorization", "modal-key", "modal-secret"} <= set(seen)


def test_a_revoked_token_is_refused_at_the_next_request(
    guarded: Deployed, server: Portico, token: dict[str, str]
) -> None:
    other = server.json("proxy-token", "create")
    with client() as http:
        assert http.get(guarded.url("vault"), headers=headers_of(token)).status_code == 200
        server("proxy-token", "revoke", token["key"])
        for credentials in (headers_of(token), bearer_of(token)):
            assert http.get(guarded.url("vault"), headers=credentials).status_code == 401
        assert http.get(guarded.url("vault"), headers=headers_of(other)).status_code == 200
    again = server("proxy-token", "revoke", token["key"], status=1)
    assert "portico proxy-token list" in again.stderr
    server("proxy-token", "revoke", other["key"])


def test_a_proxy_tokens_secret_is_shown_once_and_kept_nowhere(own: Portico) -> None:
    made = own("proxy-token", "create", "ci")
    headers = dict(line.split(": ") for line in made.stdout.splitlines())
    assert list(headers) == ["Modal-Key", "Modal-Secret"]
    key, secret = headers.values()
    assert (key[:3], secret[:3]) == ("wk-", "ws-")
    assert secret not in made.stderr
    listed = own("proxy-token", "list").stdout
    (one,) = own.json("proxy-token", "list")
    assert (one["key"], one["name"], one["secret"]) == (key, "ci", None)
    assert key in listed
    assert secret not in listed
    held = [
        path
        for path in own.state.rglob("*")
        if path.is_file() and "images" not in path.parts and secret.encode() in path.read_bytes()
    ]
    assert held == []


def test_serve_knows_the_tokens_of_the_server_that_is_started_beside_it(user: Portico) -> None:
    serve = user.begin("serve", user.script("guarded.py", GUARDED.replace("NAME", "beside")))
    url = serve.until(r"vault\s+fastapi_endpoint\n.*\n.*?(http://127\.0\.0\.1:\d+)")[1]
    serve.until("Serving until")

    def status(token: dict[str, str]) -> int:
        return get(url, headers=headers_of(token)).status_code

    # With no other server, `serve`'s own makes them, and they count at once.
    own = user.json("proxy-token", "create")
    assert status(own) == 200

    user.start_server()
    made = user.json("proxy-token", "create")
    assert {one["key"] for one in user.json("proxy-token", "list")} == {own["key"], made["key"]}
    until(lambda: status(made) == 200, "a token of the other server to count")
    for token in (own, made):
        user("proxy-token", "revoke", token["key"])
    until(lambda: {status(own), status(made)} == {401}, "a revocation by the other server to count")
