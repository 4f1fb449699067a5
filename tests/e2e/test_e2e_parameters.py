"""Parametrized classes: each combination of values has containers of its own."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from driver import DEADLINE, Deployed, Portico, Stream, get, post, until
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

PARAMETRIZED = """
    import os
    from pathlib import Path
    import asyncio
    import modal
    from fastapi import Request

    app = modal.App("parametrized", image=IMAGE)

    @app.cls(allow_concurrent_inputs=10)
    class Files:
        root: str = modal.parameter(default=".")
        depth: int = modal.parameter(default=1)
        hidden: bool = modal.parameter(default=False)
        key: bytes = modal.parameter(default=b"\\x00\\xfb\\xff")
        seen: int = modal.parameter(default=0, init=False)
        note: str = modal.parameter(init=False)

        @modal.enter()
        def begin(self):
            self.entered = os.getpid()
            self.had_note = hasattr(self, "note")

        def about(self):
            self.seen += 1
            values = [self.root, self.depth, self.hidden, self.key.hex()]
            return {"pid": os.getpid(), "values": values, "seen": self.seen, "note": self.had_note}

        @modal.method()
        def describe(self):
            return self.about()

        @modal.fastapi_endpoint()
        def show(self, request: Request, page: int = 1):
            query = request.scope["query_string"].decode("latin-1")
            return {**self.about(), "page": page, "query": query}

        @modal.asgi_app()
        def site(self):
            from fastapi import FastAPI, WebSocket

            web = FastAPI()

            @web.post("/echo")
            async def echo(request: Request):
                return {**self.about(), "body": await request.json()}

            @web.websocket("/socket")
            async def talk(socket: WebSocket):
                await socket.accept()
                await socket.send_json(self.about())
                await socket.receive_text()

            return web

    @app.cls()
    class Model:
        name: str = modal.parameter()
        seed: int = modal.parameter()

        @modal.fastapi_endpoint()
        def predict(self):
            return {"name": self.name, "seed": self.seed}

        @modal.method()
        def call(self):
            return [self.name, self.seed]

    @app.local_entrypoint()
    def main():
        import json
        from urllib.request import ProxyHandler, build_opener

        url = next(f.urls[1] for f in app.running.functions if f.name == "Files.show")
        get = lambda query: json.load(build_opener(ProxyHandler({})).open(f"{url}/?{query}"))
        print(json.dumps([get("key=-_8&root=%2F"), get("root=.")]))
        calls = [Files(root="/", key=b"\\xfb\\xff").describe, Files().describe]
        print(json.dumps([call.remote() for call in calls]))
"""


@pytest.fixture(scope="module")
def app(server: Portico) -> Deployed:
    return server.deploy("parametrized.py", PARAMETRIZED)


def show(app: Deployed, query: str = "") -> dict[str, Any]:
    answer = get(f"{app.url('Files.show')}/?{query}")
    assert answer.status_code == 200, answer.text
    return answer.json()


def python(server: Portico, text: str) -> Any:
    """What a program of its own prints as JSON, with the client on the running server."""
    done = subprocess.run(
        [sys.executable, "-c", text],
        env=server.env,
        capture_output=True,
        text=True,
        timeout=DEADLINE,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_two_values_are_two_pools_and_one_value_is_one(app: Deployed, server: Portico) -> None:
    default, other = show(app), show(app, "root=%2F")
    assert default["pid"] != other["pid"]
    assert (default["values"][0], other["values"][0]) == (".", "/")
    again = [show(app, q) for q in ("root=.&depth=1", "depth=01&hidden=no", "page=7")]
    assert {answer["pid"] for answer in again} == {default["pid"]}
    both = [show(app, q) for q in ("root=%2F&depth=2", "depth=2&root=%2f", "depth=%2B2&root=/")]
    assert len({answer["pid"] for answer in both}) == 1
    listed = {c["pid"]: c["parameters"] for c in server.containers("parametrized", "Files")}
    assert listed[default["pid"]] == {"root": ".", "depth": 1, "hidden": False, "key": "APv/"}
    assert listed[other["pid"]]["root"] == "/"
    assert listed[both[0]["pid"]]["depth"] == 2
    table = server("container", "list", "--app", "parametrized").stdout
    assert "Files(root='/', depth=2, hidden=False, key='APv/')" in table


@pytest.mark.parametrize(
    ("query", "position", "value"),
    [
        ("root=a+b%2Bc", 0, "a b+c"),
        ("root=caf%C3%A9%20%E2%98%95", 0, "café ☕"),
        ("root=%00", 0, "\x00"),
        ("root=", 0, ""),
        ("root=first&root=second", 0, "first"),
        ("root=a;b", 0, "a;b"),
        ("depth=-9223372036854775808", 1, -(2**63)),
        ("hidden=True", 2, True),
        ("key=_-8", 3, "ffef"),
        ("key=%2F%2B8%3D", 3, "ffef"),
        ("key=", 3, ""),
    ],
)
def test_values_arrive_decoded_and_typed(
    app: Deployed, query: str, position: int, value: object
) -> None:
    assert show(app, query)["values"][position] == value


def test_raw_utf_8_in_the_target_is_no_http_and_is_refused(app: Deployed) -> None:
    port = int(app.url("Files.show").rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port), DEADLINE) as connection:
        connection.sendall("GET /?root=café HTTP/1.1\r\nHost: h\r\n\r\n".encode())
        received = b"".join(iter(lambda: connection.recv(65536), b""))
    head, _, body = received.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 ")
    assert "Invalid char in url query" in json.loads(body)["detail"]


def test_other_parameters_are_the_handlers_and_the_query_reaches_it_whole(app: Deployed) -> None:
    query = "page=3&root=%2Fx+y&flag&root=again&tags=a;b&empty="
    answer = show(app, query)
    assert (answer["page"], answer["values"][0]) == (3, "/x y")
    assert answer["query"] == query
    refused = get(f"{app.url('Files.show')}/?page=many")
    assert refused.status_code == 422
    assert refused.json()["detail"][0]["loc"] == ["query", "page"]  # the handler's own refusal


def test_missing_and_ill_typed_values_are_named_and_wake_no_container(
    app: Deployed, server: Portico
) -> None:
    url = app.url("Model.predict")
    for query, name in (
        ("", "name"),
        ("name=a", "seed"),
        ("name=a&seed=", "seed"),
        ("name=a&seed=1.5", "seed"),
        ("name=a&seed=1_0", "seed"),
        ("name=a&seed=%D9%A3", "seed"),
        ("name=%FF&seed=1", "name"),
        ("name=a&seed=" + "9" * 30_000, "seed"),
    ):
        answer = get(f"{url}/?{query}")
        assert answer.status_code == 422, query
        assert answer.headers["content-type"] == "application/problem+json"
        assert f"class parameter '{name}'" in answer.json()["detail"]
        assert answer.json()["request_id"] == answer.headers["x-request-id"]
    assert server.containers("parametrized", "Model") == []


def test_the_web_methods_of_a_class_share_the_pool_of_their_values(app: Deployed) -> None:
    shown = show(app, "root=shared")
    site = app.url("Files.site")
    posted = post(f"{site}/echo?root=shared", json=[1]).json()
    assert (posted["pid"], posted["body"]) == (shown["pid"], [1])
    assert posted["seen"] == shown["seen"] + 1
    socket_url = site.replace("http://", "ws://") + "/socket"
    with connect(f"{socket_url}?x=1&root=shared", proxy=None, open_timeout=DEADLINE) as one:
        assert json.loads(one.recv(DEADLINE))["pid"] == shown["pid"]
        with connect(f"{socket_url}?root=apart", proxy=None, open_timeout=DEADLINE) as two:
            apart = json.loads(two.recv(DEADLINE))
            assert apart["pid"] != shown["pid"]
            assert apart["values"][0] == "apart"
    with pytest.raises(InvalidStatus) as refused:
        connect(f"{socket_url}?depth=deep", proxy=None, open_timeout=DEADLINE)
    assert refused.value.response.status_code == 422


def test_a_parameter_with_init_false_is_a_plain_attribute(app: Deployed) -> None:
    first = show(app, "root=plain&seen=40")
    assert first["seen"] == 1
    assert first["note"] is False
    assert show(app, "root=plain")["seen"] == 2


def test_cls_from_python_gives_the_pools_of_the_same_urls(app: Deployed, server: Portico) -> None:
    told = python(
        server,
        """
import json, portico
Files = portico.Cls.from_name("parametrized", "Files")
given = dict(root="/py ü", depth=3, hidden=True, key=bytes([251, 255]))
print(json.dumps([
    Files(**given).describe.remote(),
    Files().describe.remote(),
    Files(root=".", key=bytes([0, 251, 255])).describe.spawn().get(),
]))
""",
    )
    values, default, explicit = told
    query = "root=%2Fpy+%C3%BC&depth=3&hidden=1&key=-_8"
    assert values["pid"] == show(app, query)["pid"]
    assert values["values"] == ["/py ü", 3, True, "fbff"]
    assert default["pid"] == explicit["pid"] == show(app)["pid"]


def test_cls_of_a_running_app_gives_the_pools_of_the_same_urls(user: Portico) -> None:
    script = user.script("parametrized.py", PARAMETRIZED)
    over_http, by_call = map(json.loads, user("run", script).stdout.splitlines()[-2:])
    assert [a["pid"] for a in over_http] == [a["pid"] for a in by_call]
    assert [a["values"] for a in over_http] == [a["values"] for a in by_call]


def test_parameters_that_a_class_does_not_take_are_invalid_at_once(
    app: Deployed, server: Portico
) -> None:
    told = python(
        server,
        """
import json, portico
from portico.client import default
from portico.exception import InvalidError
from portico.wire.api import CallRequest
Model = portico.Cls.from_name("parametrized", "Model")
said = []
for given in (dict(name="x"), dict(name="x", seed="1"), dict(name=b"x", seed=1), dict(name="x", seed=1, top=1),
              dict(name="x", seed=2**63), dict(name="x", seed=True)):
    for call in ("remote", "spawn"):
        try:
            getattr(Model(**given).call, call)()
        except InvalidError as error:
            said.append(str(error))
client = default()
app_id = client.lookup_function("parametrized", "Model").app_id
for given in (dict(name="x"), dict(name="x", seed="1"), dict(name="x", seed=1, top=1)):
    for call in (client.call, client.spawn):
        try:
            call(CallRequest(app_id=app_id, function="Model", method="call", parameters=given))
        except InvalidError as error:
            said.append(str(error))
print(json.dumps(said))
""",
    )
    named = ["seed", "seed", "name", "top", "seed", "seed", "seed", "seed", "top"]
    assert len(told) == 18
    for message, name in zip(told, [n for n in named for _ in range(2)], strict=True):
        assert f"'{name}'" in message
    assert server.containers("parametrized", "Model") == []
    answer = get(app.url("Model.predict"), params={"name": "m", "seed": 7})
    assert answer.json() == {"name": "m", "seed": 7}


# ---- versions

VERSIONED = """
    import asyncio
    import os
    from pathlib import Path
    import modal

    app = modal.App("versioned", image=IMAGE)

    @app.cls(allow_concurrent_inputs=10, min_containers=1)
    class Versioned:
        name: str = modal.parameter(default="a")
        # more

        @modal.fastapi_endpoint()
        async def read(self, gate: str = ""):
            while gate and not Path(gate).exists():
                await asyncio.sleep(0.01)
            return "VERSION of " + self.name
"""


def version(number: int, more: str = "") -> str:
    return VERSIONED.replace("VERSION", f"version {number}").replace("# more", more)


def test_values_in_use_are_handed_over_to_the_next_deploy(server: Portico) -> None:
    app = server.deploy("versioned.py", version(1))
    url = app.url("Versioned.read")

    def ready() -> dict[str, str]:
        listed = server.containers("versioned")
        return {c["parameters"]["name"]: c["container_id"] for c in listed if c["state"] == "ready"}

    until(lambda: ready().keys() == {"a"}, "the warm container of the default")
    assert get(url, params={"name": "b"}).json() == "version 1 of b"
    before = ready()
    gate = server.work / "versioned-gate"
    with ThreadPoolExecutor(1) as pool, Stream(f"{url}/?name=b") as stream:
        held = pool.submit(get, url, params={"name": "b", "gate": str(gate)})
        until(
            lambda: any(c["running"] for c in server.containers("versioned")), "a request that runs"
        )
        stream.until_answered(5)
        # One parameter more, with a default: both values in use are warm in it before it serves.
        server.deploy("versioned.py", version(2, "size: int = modal.parameter(default=1)"))
        after = ready()
        assert after.keys() == {"a", "b"}
        assert not set(after.values()) & set(before.values())
        stream.until_answer('"version 2 of b"')
        gate.touch()
        assert held.result(DEADLINE).json() == "version 1 of b"
    assert stream.failures == []


def test_a_value_that_the_next_version_does_not_take_gets_422_and_what_runs_ends(
    server: Portico,
) -> None:
    app = server.deploy("versioned.py", version(3))
    url = app.url("Versioned.read")
    gate = server.work / "versioned-gate-2"
    with ThreadPoolExecutor(1) as pool:
        held = pool.submit(get, url, params={"name": "b", "gate": str(gate)})
        until(
            lambda: any(c["running"] for c in server.containers("versioned")), "a request that runs"
        )
        changed = version(4).replace("name: str", "name: int").replace('"a"', "1")
        server.deploy("versioned.py", changed.replace("self.name", "str(self.name)"))
        refused = get(url, params={"name": "b"})
        assert refused.status_code == 422
        assert "'name' must be int" in refused.json()["detail"]
        assert get(url, params={"name": "7"}).json() == "version 4 of 7"
        assert not held.done()
        gate.touch()
        assert held.result(DEADLINE).json() == "version 3 of b"


def test_a_live_reload_keeps_the_values_in_use(user: Portico) -> None:
    script = user.script("versioned.py", version(1))
    serve = user.begin("serve", script)
    url = serve.until(r"http://127\.0\.0\.1:\d+")[0]
    serve.until("Serving until")
    with Stream(f"{url}/?name=c") as stream:
        stream.until_answered(5)
        user.script("versioned.py", version(2))
        stream.until_answer('"version 2 of c"')
    assert stream.failures == []
