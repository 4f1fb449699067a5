"""Mistakes are refused where they are written, by a message that names the fix."""

from __future__ import annotations

import re
import warnings

import pytest

import portico
from portico.exception import InvalidError


@pytest.fixture
def app() -> portico.App:
    return portico.App("shop")


def handler() -> str:
    return "ok"


def with_argument(x: int) -> int:
    return x


async def coroutine() -> None: ...


def generator():
    yield 1


def refused(fix: str):
    return pytest.raises(InvalidError, match=re.escape(fix))


@pytest.mark.parametrize(
    "decorator",
    [
        portico.fastapi_endpoint,
        portico.asgi_app,
        portico.wsgi_app,
        portico.enter,
        portico.exit,
        portico.method,
    ],
)
def test_a_decorator_without_parentheses(decorator):
    with refused(f"write @{decorator.__name__}()"):
        decorator(handler)


def test_app_decorators_and_concurrent_without_parentheses(app):
    with refused("write @app.function()"):
        app.function(handler)
    with refused("write @app.cls()"):
        app.cls(type("C", (), {}))
    with refused("write @app.local_entrypoint()"):
        app.local_entrypoint(handler)
    with refused("write @concurrent(max_inputs=10)"):
        portico.concurrent(handler, max_inputs=2)
    with refused("write @web_server(8000)"):
        portico.web_server(handler)


def test_concurrent_without_its_number():
    with refused("write @concurrent(max_inputs=10)"):
        portico.concurrent(handler)
    with refused("write @concurrent(max_inputs=10)"):
        portico.concurrent()


@pytest.mark.parametrize("label", [5, ""])
def test_a_label_that_is_no_text(label):
    with refused(f"label must be a non-empty string, not {label!r}"):
        portico.fastapi_endpoint(label=label)


def test_positional_values_of_parameters(app):
    class Shelf:
        size: int = portico.parameter(default=1)

        @portico.method()
        def count(self) -> int:
            return self.size

    shelf = app.cls(serialized=True)(Shelf)
    with refused("write Shelf(name=…)"):
        shelf(3)


def test_a_web_function_is_not_called_even_where_its_app_does_not_run(app):
    function = app.function()(portico.fastapi_endpoint()(handler))
    with refused("handler is a web function: send HTTP requests"):
        function.remote()


def test_parentheses_are_missed_on_a_decorated_function_too(app):
    with refused("write @app.function()"):
        app.function(portico.fastapi_endpoint()(handler))


@pytest.mark.parametrize(
    "decorator",
    [
        portico.fastapi_endpoint(),
        portico.asgi_app(),
        portico.wsgi_app(),
        portico.web_server(8000),
        portico.concurrent(max_inputs=2),
        portico.method(),
        portico.enter(),
    ],
)
def test_a_decorator_above_app_function(app, decorator):
    with refused("always the topmost decorator"):
        decorator(app.function()(handler))


@pytest.mark.parametrize(
    "decorator", [portico.asgi_app(), portico.wsgi_app(), portico.web_server(8000)]
)
def test_factories_take_no_parameters_and_are_not_async(decorator):
    with refused("portico.parameter()"):
        decorator(with_argument)
    with refused("plain `def`"):
        decorator(coroutine)
    with refused("needs a function that returns"):
        decorator(generator)


def test_a_factory_method_takes_self_only():
    with refused("self only"):

        class Server:
            @portico.asgi_app()
            def app(self, root): ...

    class Good:
        @portico.asgi_app()
        def app(self): ...


def test_fastapi_endpoint_on_a_generator():
    with refused("StreamingResponse"):
        portico.fastapi_endpoint()(generator)


def test_retries_on_a_web_function(app):
    with refused("remove retries"):
        app.function(retries=3)(portico.fastapi_endpoint()(handler))

    class Web:
        @portico.fastapi_endpoint()
        def get(self): ...

    with refused("remove retries"):
        app.cls(retries=3, serialized=True)(Web)


def test_method_and_a_web_decorator_together():
    with refused("both @fastapi_endpoint and @method"):

        class One:
            @portico.method()
            @portico.fastapi_endpoint()
            def get(self): ...

    with refused("both @method and @asgi_app"):

        class Two:
            @portico.asgi_app()
            @portico.method()
            def get(self): ...


@pytest.mark.parametrize("port", [0, 65536, -1, "8000", 80.0, True])
def test_a_port_outside_the_range(port):
    with pytest.raises(InvalidError, match="port"):
        portico.web_server(port)


def test_web_options_that_cannot_be():
    with refused("use one of GET"):
        portico.fastapi_endpoint(method="FETCH")
    with refused("custom_domains=['api.example.com']"):
        portico.asgi_app(custom_domains="api.example.com")
    with refused("without a scheme"):
        portico.asgi_app(custom_domains=["https://api.example.com"])
    with refused("startup_timeout must be a number above 0"):
        portico.web_server(8000, startup_timeout=0)


@pytest.mark.parametrize("label", ["Upper", "-a", "a-", "12", "a.b", "x" * 64])
def test_a_label_no_url_can_carry(label):
    with refused("cannot be part of a URL"):
        portico.fastapi_endpoint(label=label)


@pytest.mark.parametrize("name", ["a b", "-x", "", "ä", "x" * 65, 7])
def test_an_app_name_no_url_can_carry(name):
    with pytest.raises(InvalidError, match=r"URL|non-empty string"):
        portico.App(name)


def test_a_function_name_no_url_can_carry(app):
    with refused("cannot be part of a URL"):
        app.function(name="a b")(handler)
    with refused("give name="):
        app.function(serialized=True)(lambda: 1)


def test_scaling_bounds(app):
    with refused("min_containers=3 is more than max_containers=2"):
        app.function(min_containers=3, max_containers=2)(handler)
    with refused("min_containers=3 is more than max_containers=2"):
        app.function(keep_warm=3, concurrency_limit=2)(handler)
    with refused("two names of one option"):
        app.function(keep_warm=1, min_containers=1)(handler)
    with refused("target_inputs=5 is more than max_inputs=4"):
        portico.concurrent(max_inputs=4, target_inputs=5)
    with refused("keep @concurrent"):
        app.function(allow_concurrent_inputs=3)(portico.concurrent(max_inputs=4)(handler))


@pytest.mark.parametrize(
    "option",
    [
        {"max_containers": 0},
        {"min_containers": -1},
        {"min_containers": True},
        {"buffer_containers": 1.5},
        {"scaledown_window": 0},
        {"timeout": -1},
        {"cpu": "2"},
        {"memory": 0.5},
        {"allow_concurrent_inputs": 0},
        {"retries": -1},
        {"env": {"A": 1}},
        {"env": {"A=B": "1"}},
        {"image": "debian"},
        {"secrets": ["name"]},
        {"secrets": portico.Secret.from_dict({})},
        {"gpu": 1},
    ],
)
def test_options_that_cannot_be(app, option):
    with pytest.raises(InvalidError, match=next(iter(option))):
        app.function(**option)(handler)


def test_an_unknown_option_names_the_nearest(app):
    with refused("did you mean 'min_containers'"):
        app.function(min_container=1)(handler)


def test_a_message_about_an_environment_keeps_its_value_back():
    with pytest.raises(InvalidError) as caught:
        portico.Secret.from_dict({"KEY": 123456})
    assert "123456" not in str(caught.value)


def test_an_unsupported_parameter_type(app):
    with refused("use str, int, bool or bytes"):

        @app.cls(serialized=True)
        class A:
            ratio: float = portico.parameter()

            @portico.method()
            def run(self): ...

    with refused("has no annotation"):

        @app.cls(serialized=True)
        class B:
            ratio = portico.parameter()

            @portico.method()
            def run(self): ...

    with refused("its default 'x' is not"):

        @app.cls(serialized=True)
        class C:
            n: int = portico.parameter(default="x")

            @portico.method()
            def run(self): ...

    with refused("an int has at most 64 bits"):

        @app.cls(serialized=True)
        class TooLarge:
            n: int = portico.parameter(default=1 << 63)

            @portico.method()
            def run(self): ...

    with refused("move the code of __init__"):

        @app.cls(serialized=True)
        class D:
            n: int = portico.parameter(default=1)

            def __init__(self): ...

            @portico.method()
            def run(self): ...


def test_things_in_the_wrong_place(app):
    class Plain:
        def method(self): ...

    with refused("use @app.cls()"):
        app.function()(Plain)
    with refused("put @app.cls() on the class"):
        app.function()(Plain.method)
    with refused("use @app.function()"):
        app.cls()(handler)
    with refused("use @app.function() for a function"):
        portico.method()(handler)
    with refused("have a lifecycle"):
        portico.enter()(handler)
    with refused("put it on the class, below @app.cls()"):
        portico.concurrent(max_inputs=2)(Plain.method)
    with refused("on one of its methods"):
        portico.fastapi_endpoint()(Plain)
    with refused("staticmethod"):
        portico.method()(staticmethod(handler))
    with refused("nothing to call"):
        app.cls(serialized=True)(Plain)
    with refused("serialized=True"):

        @app.function()
        def nested(): ...


def test_two_functions_of_one_name(app):
    app.function(name="f")(handler)
    with refused("rename one"):
        app.function(name="f")(with_argument)
    assert (
        app.function(name="f")(handler).info.name == "f"
    )  # declared anew, as a notebook cell does


def test_a_hook_with_arguments():
    with refused("self only"):

        class A:
            @portico.enter()
            def start(self, x): ...


def test_web_endpoint_warns_and_its_successor_does_not():
    with pytest.warns(DeprecationWarning, match="fastapi_endpoint") as caught:
        partial = portico.web_endpoint(method="POST")(handler)
    assert partial.web.method == "POST"
    assert caught[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        portico.fastapi_endpoint()(handler)


def test_both_spellings_mean_the_same_without_a_warning(app):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        former = app.function(
            allow_concurrent_inputs=5, keep_warm=1, concurrency_limit=4, container_idle_timeout=9
        )(handler)
        current = app.function(min_containers=1, max_containers=4, scaledown_window=9)(
            portico.concurrent(max_inputs=5)(handler)
        )
    assert former.info.settings.scaling == current.info.settings.scaling
    assert former.info.settings.scaling.max_inputs == 5


def test_the_order_of_concurrent_and_the_web_decorator_does_not_matter(app):
    one = app.function()(portico.concurrent(max_inputs=7)(portico.asgi_app()(handler)))
    two = app.function()(portico.asgi_app()(portico.concurrent(max_inputs=7)(handler)))
    for function in (one, two):
        assert function.web.kind == "asgi_app"
        assert function.info.settings.scaling.max_inputs == 7
