"""Classes: parameters, lifecycle, local use."""

from __future__ import annotations

import asyncio

import pytest

import portico
from portico.cls import Cls, instantiate
from portico.exception import InvalidError
from portico.lifecycle import hooks, methods
from portico.web import web_methods

app = portico.App("classes")


class Base:
    root: str = portico.parameter(default=".")

    @portico.enter(snap=True)
    def load(self):
        self.events = ["load"]

    @portico.enter()
    def connect(self):
        self.events.append("base")


@app.cls(allow_concurrent_inputs=10)
class Server(Base):
    limit: int = portico.parameter()
    key: bytes = portico.parameter(default=b"\x00\xff")
    note: str = portico.parameter(default="n", init=False)
    SIZE = 3

    @portico.enter()
    async def connect(self):
        self.events.append("connect")

    @portico.enter()
    def last(self):
        self.events.append("last")

    @portico.exit()
    def close(self):
        self.events.append("close")

    @portico.method()
    def double(self, x):
        return self.helper(x) * 2

    @portico.method()
    def helper(self, x):
        return x

    @portico.method()
    async def slow(self, x):
        await asyncio.sleep(0)
        return x, list(self.events)

    @portico.fastapi_endpoint(docs=True)
    def get(self, q: int):
        return q

    @portico.asgi_app()
    def site(self): ...


def test_hooks_come_in_definition_order_inherited_first_and_overridden_in_place():
    found = hooks(Server.user_class)
    assert [f.__qualname__ for f in found.enter_snap] == ["Base.load"]
    assert [f.__qualname__ for f in found.enter] == ["Server.connect", "Server.last"]
    assert [f.__qualname__ for f in found.exit] == ["Server.close"]


def test_a_subclass_that_overrides_without_a_decorator_drops_the_hook():
    class Silent(Base):
        def connect(self): ...

    assert hooks(Silent).enter == []


def test_methods_and_web_methods_are_raw():
    assert list(methods(Server.user_class)) == ["double", "helper", "slow"]
    web = web_methods(Server.user_class)
    assert list(web) == ["get", "site"]
    raw, spec = web["get"]
    assert spec.docs
    assert raw(object(), q=3) == 3


def test_the_declaration_has_methods_and_parameters():
    info = Server.info
    assert info.is_class
    assert [m.name for m in info.methods] == ["double", "helper", "slow", "get", "site"]
    assert {p.name: (p.type, p.required, p.default) for p in info.parameters} == {
        "root": ("str", False, "."),
        "limit": ("int", True, None),
        "key": ("bytes", False, "AP8="),
    }
    assert info.settings.scaling.max_inputs == 10


def test_instantiate_sets_parameters_before_hooks_and_takes_bytes_as_they_travel():
    server = instantiate(Server.user_class, {"limit": 3, "key": "AAE="})
    assert (server.root, server.limit, server.key, server.note) == (".", 3, b"\x00\x01", "n")
    assert not hasattr(server, "events")
    assert instantiate(Server.user_class, {"limit": 3, "key": b"raw"}).key == b"raw"


def test_an_attribute_without_a_value_is_missing_until_it_is_set():
    class Lazy:
        model: str = portico.parameter(init=False)

    lazy = instantiate(Lazy, {})
    assert not hasattr(lazy, "model")
    with pytest.raises(AttributeError, match="Lazy has no value for 'model' yet"):
        _ = lazy.model
    lazy.model = "loaded"
    assert lazy.model == "loaded"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "'limit' of Server has no default"),
        ({"limit": "3"}, "declared int, and '3' is str"),
        ({"limit": True}, "declared int, and True is bool"),
        ({"limit": 1, "x": 1}, "no parameter 'x'"),
        ({"limit": 1, "note": "x"}, "no parameter 'note'"),
        (
            {"limit": 1 << 63},
            "'limit' of Server cannot be 9223372036854775808: an int has at most 64",
        ),
        ({"limit": 1, "root": "\ud800"}, "'root' of Server cannot be .*valid Unicode"),
    ],
)
def test_nothing_is_cast_and_nothing_missing(given, message):
    with pytest.raises(InvalidError, match=message):
        Server(**given)


def test_local_calls_enter_once_and_lazily():
    server = Server(limit=1)
    assert server._local._instance is None
    assert server.double.local(4) == 8
    assert server.events == ["load", "connect", "last"]
    assert server.limit == 1
    assert server.helper.local(1) == 1
    assert server.events == ["load", "connect", "last"]


def test_an_async_method_enters_within_the_loop():
    server = Server(limit=1)

    async def main():
        first = await server.slow.local(1)
        return first, await server.slow.local(2)

    events = ["load", "connect", "last"]
    assert asyncio.run(main()) == ((1, events), (2, events))


def test_class_attributes_are_there_and_methods_want_an_object():
    assert Server.SIZE == 3
    with pytest.raises(InvalidError, match=r"write Server\(\).double"):
        _ = Server.double


def test_a_class_can_inherit_from_a_decorated_one():
    class Child(Server):  # type: ignore[misc]
        pass

    assert issubclass(Child, Base)
    assert hooks(Child) == hooks(Server.user_class)


@app.cls()
class Written:
    def __init__(self, size: int, name: str = "w"):
        self.text = name * size

    @portico.method()
    def read(self):
        return self.text


def test_a_written_constructor_gives_the_parameters():
    assert isinstance(Written, Cls)
    assert [(p.name, p.type, p.required) for p in Written.info.parameters] == [
        ("size", "int", True),
        ("name", "str", False),
    ]
    assert Written(size=2).read.local() == "ww"
    assert instantiate(Written.user_class, {"size": 1, "name": "z"}).text == "z"
    with pytest.raises(InvalidError, match="declared int"):
        Written(size="2")


def test_a_constructor_that_takes_anything_is_refused():
    with pytest.raises(InvalidError, match=r"portico.parameter\(\)"):

        @app.cls(serialized=True)
        class Any_:
            def __init__(self, **kwargs): ...

            @portico.method()
            def run(self): ...


def test_concurrent_decorates_the_class():
    @portico.concurrent(max_inputs=9, target_inputs=4)
    class Busy:
        @portico.method()
        def run(self): ...

    scaling = app.cls(serialized=True)(Busy).info.settings.scaling
    assert (scaling.max_inputs, scaling.target_inputs) == (9, 4)
