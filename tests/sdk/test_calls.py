"""Calls, through a small stand-in for the client that runs functions in this process."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, contextmanager

import cloudpickle
import msgspec
import pytest

import portico
import portico.client
from portico.exception import (
    ExecutionError,
    InvalidError,
    NotFoundError,
    RemoteError,
    SerializationError,
    TimeoutError,
)
from portico.invocation import MAX_IN_FLIGHT
from portico.manifest import build_manifest
from portico.parameter import from_wire
from portico.wire.api import (
    AppInfo,
    CallOutcome,
    CallRequest,
    Deployed,
    FunctionHandle,
    FunctionInfo,
)

app = portico.App("calls")


@app.function()
def square(x: int) -> int:
    if x < 0:
        raise ValueError("negative")
    return x * x


@app.function()
@portico.fastapi_endpoint()
def page() -> str:
    return "page"


@app.function()
def numbers():
    yield 1


@app.cls()
class Scale:
    factor: int = portico.parameter(default=2)
    key: bytes = portico.parameter(default=b"\xff")

    @portico.method()
    def times(self, x: int):
        return self.factor * x, self.key

    @portico.asgi_app()
    def site(self): ...


class Running:
    app_id = "ap-1"
    functions = (
        FunctionInfo(name="square", id="fu-1", kind="function"),
        FunctionInfo(name="page", id="fu-2", kind="fastapi_endpoint", urls=["http://page", "b"]),
        FunctionInfo(name="Scale.site", id="fu-3", kind="asgi_app", urls=["http://site"]),
    )


class StandIn:
    """The blocking client's calls; spawned ones wait until they are asked for."""

    def __init__(self) -> None:
        self.spawned: dict[str, CallRequest] = {}
        self.open = 0
        self.most_open = 0
        self.requests: list[CallRequest] = []
        self.lookups: list[tuple[str, str]] = []
        self.environments: list[str] = []
        self.apps = {"calls"}
        self.ended = 0
        self.aio = AsyncStandIn(self)

    @contextmanager
    def ephemeral(self, manifest, blobs, *, environment, on_event=None, on_log=None):
        self.environments.append(environment)
        assert manifest.name == "calls"
        assert set(blobs) >= {file.sha256 for file in manifest.files}
        try:
            yield Running()
        finally:
            self.ended += 1

    def deploy(self, manifest, blobs, *, name, environment, on_event=None):
        self.environments.append(environment)
        return Deployed(app_id="ap-9", name=name, version=1, functions=[])

    def lookup_app(self, name, *, environment):
        self.environments.append(environment)
        if name not in self.apps:
            raise NotFoundError(name)
        return AppInfo(app_id=f"ap-{name}", name=name, state="deployed", version=1, created_at=0)

    def create_app(self, name, *, environment):
        self.apps.add(name)
        return self.lookup_app(name, environment=environment)

    def lookup_function(self, app_name, name, *, environment):
        self.environments.append(environment)
        self.lookups.append((app_name, name))
        specs = {spec.name: spec for spec in build_manifest(app)[0].functions}
        if name not in specs:
            raise NotFoundError(f"no function {name}")
        urls = {m.name: [f"http://{name}.{m.name}"] for m in specs[name].methods if m.web}
        return FunctionHandle(app_id="ap-1", function_id="fu-1", spec=specs[name], urls=urls)

    def call(self, request):
        self.requests.append(request)
        args, kwargs = cloudpickle.loads(request.payload)
        try:
            if request.function == "Scale":
                values = {"factor": request.parameters["factor"]}
                if "key" in request.parameters:
                    values["key"] = from_wire(request.parameters["key"], "bytes")
                value = Scale(**values).times.local(*args, **kwargs)
            else:
                value = square.local(*args, **kwargs)
        except Exception as error:
            return CallOutcome(
                call_id="fc-1",
                state="failed",
                payload=cloudpickle.dumps(error),
                error="Traceback: far",
            )
        return CallOutcome(call_id="fc-1", state="done", payload=cloudpickle.dumps(value))

    def spawn(self, request):
        call_id = f"fc-{len(self.spawned)}"
        self.spawned[call_id] = request
        self.open += 1
        self.most_open = max(self.most_open, self.open)
        return call_id

    def call_result(self, call_id, timeout=None):
        if call_id not in self.spawned:
            return CallOutcome(call_id=call_id, state="pending")
        self.open -= 1
        return self.call(self.spawned[call_id])


class AsyncStandIn:
    def __init__(self, blocking: StandIn) -> None:
        self._blocking = blocking

    @asynccontextmanager
    async def ephemeral(self, *args, **kwargs):
        with self._blocking.ephemeral(*args, **kwargs) as running:
            yield running

    def __getattr__(self, name):
        async def call(*args, **kwargs):
            return getattr(self._blocking, name)(*args, **kwargs)

        return call


@pytest.fixture(autouse=True)
def client():
    stand_in = StandIn()
    portico.client.use(stand_in)
    yield stand_in
    portico.client.use(None)


def test_a_call_needs_a_running_app():
    with pytest.raises(ExecutionError, match=r"with app.run\(\)"):
        square.remote(2)


def test_remote_and_spawn_in_a_running_app(client):
    with app.run() as running:
        assert running is app
        assert app.app_id == "ap-1"
        assert square.remote(3) == 9
        call = square.spawn(4)
        assert call.object_id == "fc-0"
        assert call.get() == 16
        assert portico.FunctionCall.from_id("fc-0").get() == 16
        assert portico.FunctionCall.gather(square.spawn(1), square.spawn(2)) == [1, 4]
        with pytest.raises(InvalidError, match="runs already"), app.run():
            pass
    assert client.ended == 1
    assert client.requests[0].app_id == "ap-1"
    with pytest.raises(ExecutionError):
        square.remote(2)


def test_the_same_for_coroutines(client):
    async def main():
        async with app.run():
            assert await square.remote.aio(3) == 9
            call = await square.spawn.aio(4)
            assert await call.get.aio() == 16
            assert await portico.FunctionCall.gather.aio(call, call) == [16, 16]
            assert [r async for r in square.map.aio(range(3))] == [0, 1, 4]
            assert await page.get_web_url.aio() == "http://page"
            await square.for_each.aio([1, 2])

    asyncio.run(main())
    assert client.ended == 1


def test_an_exception_comes_as_its_own_type_with_the_remote_traceback():
    with app.run(), pytest.raises(ValueError, match="negative") as caught:
        square.remote(-1)
    assert "Traceback: far" in str(caught.value.__cause__)


@pytest.mark.parametrize("payload", [b"", b"not a pickle", cloudpickle.dumps("no exception")])
def test_an_exception_that_cannot_come_is_a_remote_error(client, payload):
    client.call = lambda request: CallOutcome(
        call_id="fc-1", state="failed", payload=payload, error="OddError: gone"
    )
    with app.run(), pytest.raises(RemoteError, match="OddError: gone"):
        square.remote(1)


def test_a_call_that_is_not_done_in_time():
    with pytest.raises(TimeoutError, match="fc-x has no result yet"):
        portico.FunctionCall.from_id("fc-x").get(timeout=0)
    with pytest.raises(InvalidError, match="fc-"):
        portico.FunctionCall.from_id("in-1")


def test_arguments_that_cannot_be_pickled():
    with app.run(), pytest.raises(SerializationError, match="the arguments"):
        square.remote(x for x in ())


def test_map_keeps_order_and_bounds_what_is_in_flight(client):
    taken = 0

    def inputs():
        nonlocal taken
        while taken < 250:
            taken += 1
            yield taken

    with app.run():
        results = square.map(inputs())
        assert next(results) == 1
        assert taken == MAX_IN_FLIGHT
        assert list(results) == [n * n for n in range(2, 251)]
        assert list(square.starmap([(2,), (3,)])) == [4, 9]
        mixed = list(square.map([1, -1], return_exceptions=True))
        assert mixed[0] == 1
        assert isinstance(mixed[1], ValueError)
        with pytest.raises(ValueError):
            square.for_each([-1])
        square.for_each([-1], ignore_exceptions=True)
    assert client.most_open <= MAX_IN_FLIGHT


def test_web_functions_have_urls_and_no_remote():
    with app.run():
        assert page.web_url == page.get_web_url() == "http://page"
        assert Scale().site.get_web_url() == "http://site"
        assert square.get_web_url() is None
        with pytest.raises(InvalidError, match="send HTTP requests to http://page"):
            page.remote()
        with pytest.raises(InvalidError, match="generator"):
            numbers.remote()


def test_classes_send_their_parameters(client):
    with app.run():
        assert Scale(factor=3).times.remote(2) == (6, b"\xff")
    assert client.requests[0].parameters == {"factor": 3, "key": "/w=="}
    assert client.requests[0].method == "times"


def test_functions_by_name_are_looked_up_once_and_late(client):
    f = portico.Function.from_name("calls", "square")
    assert client.lookups == []
    assert f.remote(2) == f.spawn(2).get() == 4
    assert client.lookups == [("calls", "square")]
    assert portico.Function.from_name("calls", "page").web_url == "http://page."
    with pytest.raises(NotFoundError):
        portico.Function.from_name("calls", "nothing").remote()
    with pytest.raises(InvalidError, match="code is not here"):
        f.local(1)


def test_classes_by_name(client):
    scale = portico.Cls.from_name("calls", "Scale")(factor=5)
    assert client.lookups == []
    assert scale.times.remote(2) == (10, b"\xff")
    assert scale.site.web_url == "http://Scale.site"
    with pytest.raises(NotFoundError, match="has no method 'nothing'; it has: times, site"):
        scale.nothing.remote()
    assert portico.Function.from_name("calls", "Scale.site").web_url == "http://Scale.site"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"factor": "5"}, "'factor' of Scale is declared int, and '5' is str"),
        ({"key": "text"}, "'key' of Scale is declared bytes"),
        ({"fctor": 5}, "no parameter 'fctor'; it has: factor, key"),
        ({"factor": 1 << 63}, "'factor' of Scale cannot be"),
    ],
)
def test_parameters_of_a_class_by_name_are_checked_before_anything_is_sent(client, given, message):
    times = portico.Cls.from_name("calls", "Scale")(**given).times
    for call in (times.remote, times.spawn):
        with pytest.raises(InvalidError, match=message):
            call(2)
    with pytest.raises(InvalidError, match=message):
        asyncio.run(times.remote.aio(2))
    assert client.requests == []
    assert client.spawned == {}


def test_what_a_newer_version_takes_is_found_out_by_looking_again(client):
    spec = client.lookup_function("calls", "Scale", environment="main").spec
    older = [m for m in spec.methods if m.name != "times"]
    specs = [
        msgspec.structs.replace(spec, parameters=()),
        msgspec.structs.replace(spec, methods=tuple(older)),
        spec,
    ]
    client.lookup_function = lambda app_name, name, environment: FunctionHandle(
        app_id="ap-1", function_id="fu-1", spec=specs.pop(0)
    )
    scale = portico.Cls.from_name("calls", "Scale")
    with pytest.raises(InvalidError, match="no parameter 'factor'"):
        scale(factor=5).times.remote(2)
    with pytest.raises(NotFoundError, match="no method 'times'"):
        scale(factor=5).times.remote(2)
    assert scale(factor=5).times.remote(2) == (10, b"\xff")
    assert scale(factor=6).times.remote(2) == (12, b"\xff")  # and this was known by then
    assert specs == []


def test_deploy_and_lookup(client):
    assert app.deploy(name="other").app_id == "ap-9"
    assert asyncio.run(app.deploy.aio()).app_id == "ap-9"
    assert portico.App.lookup("calls").app_id == "ap-calls"
    with pytest.raises(NotFoundError):
        portico.App.lookup("new")
    assert portico.App.lookup("new", create_if_missing=True).app_id == "ap-new"
    assert asyncio.run(portico.App.lookup.aio("new")).app_id == "ap-new"


def test_what_is_named_is_looked_for_in_the_environment_in_use(client, monkeypatch):
    monkeypatch.delenv("PORTICO_ENVIRONMENT", raising=False)
    early = portico.Function.from_name("calls", "square")
    fixed = portico.Function.from_name("calls", "square", environment_name="eu-2")
    scale = portico.Cls.from_name("calls", "Scale", environment_name="eu-2")
    assert portico.Function.from_name("calls", "square").remote(2) == 4
    monkeypatch.setenv("PORTICO_ENVIRONMENT", "staging")
    assert early.remote(2) == fixed.remote(2) == asyncio.run(fixed.remote.aio(2)) == 4
    assert scale(factor=2).times.remote(2) == (4, b"\xff")
    assert client.environments == ["main", "staging", "eu-2", "eu-2"]


def test_apps_are_made_and_found_in_the_environment_in_use(client, monkeypatch):
    monkeypatch.setenv("PORTICO_ENVIRONMENT", "staging")
    portico.App.lookup("calls")
    portico.App.lookup("calls", environment_name="eu-2")
    portico.App.lookup("new", environment_name="eu-3", create_if_missing=True)
    assert client.environments == ["staging", "eu-2", "eu-3", "eu-3"]
    client.environments.clear()
    app.deploy()
    app.deploy(environment_name="eu-2")
    asyncio.run(app.deploy.aio(environment_name="eu-3"))
    with app.run():
        pass
    with app.run(environment_name="eu-2"):
        pass
    assert client.environments == ["staging", "eu-2", "eu-3", "staging", "eu-2"]


@pytest.mark.parametrize("name", ["", "-a", "a-", "Dev", "a_b", "a.b", "x" * 33])
def test_environments_no_url_can_carry_are_refused(client, monkeypatch, name):
    for refused in (
        lambda: portico.Function.from_name("calls", "square", environment_name=name),
        lambda: portico.Cls.from_name("calls", "Scale", environment_name=name),
        lambda: portico.App.lookup("calls", environment_name=name),
        lambda: app.run(environment_name=name),
        lambda: app.deploy(environment_name=name),
    ):
        with pytest.raises(InvalidError, match=r"environment"):
            refused()
    monkeypatch.setenv("PORTICO_ENVIRONMENT", name)
    if name:  # an empty variable is none
        with pytest.raises(InvalidError, match=r"Correct PORTICO_ENVIRONMENT"):
            portico.Function.from_name("calls", "square").remote(2)
    assert client.environments == []


def test_a_failed_start_leaves_the_app_not_running(client):
    @contextmanager
    def failing(*args, **kwargs):
        raise RemoteError("no")
        yield

    client.ephemeral = failing
    with pytest.raises(RemoteError), app.run():
        pass
    assert app.running is None
