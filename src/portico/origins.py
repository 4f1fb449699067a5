"""Where a callable's function is: in an app of this program that runs, or under a name on the server."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol

from portico.exception import ExecutionError, InvalidError, NotFoundError
from portico.names import checked_environment, environment_or_default
from portico.wire.manifest import FunctionSpec, MethodSpec, ParameterSpec

if TYPE_CHECKING:
    from portico.app import App
    from portico.client import Client
    from portico.declaration import Declaration
    from portico.wire.api import FunctionHandle


class Located(NamedTuple):
    """A function found: `urls` by the public name of each web function."""

    app_id: str
    function: str
    methods: Sequence[MethodSpec]
    urls: Mapping[str, Sequence[str]]
    parameters: Sequence[ParameterSpec] = ()


Suits = Callable[[Located], bool]


class Origin(Protocol):
    """Finds a function. `client` gives the server's client, and raises where there is none.

    It is asked for once, and again where what was found then does not suit: a newer version may.
    """

    def locate(self, client: Callable[[], Client], suits: Suits) -> Located:
        """The function. Raises `NotFoundError`, `ExecutionError`, or `InvalidError`."""

    async def locate_aio(self, client: Callable[[], Client], suits: Suits) -> Located:
        """The same for coroutines."""


class InApp:
    """A function declared in this program."""

    def __init__(self, app: App, declaration: Declaration) -> None:
        self._app = app
        self._declaration = declaration

    def locate(self, client: object, suits: object) -> Located:
        """The function in the running app.

        Raises `ExecutionError` where it does not run, and `InvalidError` for a web function of it.
        """
        running = self._app.running
        name = self._declaration.name
        if running is None and all(method.web for method in self._declaration.methods):
            raise InvalidError(
                f"{name} is a web function: send HTTP requests to the URL that `portico serve` and `portico deploy` "
                "print, and that get_web_url() returns while the app runs"
            )
        if running is None:
            raise ExecutionError(
                f"{name} can be called while its app runs: use `portico run`, or `with app.run():` around the call; "
                f"for a deployed app use portico.Function.from_name(app_name, {name!r})"
            )
        return Located(
            running.app_id,
            name,
            self._declaration.methods,
            {info.name: info.urls for info in running.functions},
            self._declaration.parameters,
        )

    async def locate_aio(self, client: object, suits: object) -> Located:
        """The same for coroutines; nothing here waits."""
        return self.locate(client, suits)


class ByName:
    """A function of a deployed app, looked up when it is first used.

    Without an environment it is looked for in the one that is in use then.
    """

    def __init__(self, app_name: str, name: str, environment: str | None = None) -> None:
        self.app_name = app_name
        self.name = name
        self._environment = checked_environment(environment)
        self._located: Located | None = None

    def locate(self, client: Callable[[], Client], suits: Suits) -> Located:
        """The function as it was found before, where that suits."""
        if self._located is None or not suits(self._located):
            environment = environment_or_default(self._environment)
            found = client().lookup_function(self.app_name, self.name, environment=environment)
            self._located = self._from(found)
        return self._located

    async def locate_aio(self, client: Callable[[], Client], suits: Suits) -> Located:
        """The same for coroutines."""
        if self._located is None or not suits(self._located):
            environment = environment_or_default(self._environment)
            aio = client().aio
            found = await aio.lookup_function(self.app_name, self.name, environment=environment)
            self._located = self._from(found)
        return self._located

    def _from(self, handle: FunctionHandle) -> Located:
        spec = handle.spec
        urls = _by_public_name(spec, handle.urls)
        return Located(handle.app_id, spec.name, spec.methods, urls, spec.parameters)


def find_method(located: Located, name: str) -> MethodSpec:
    """The method called `name` (empty for a plain function). Raises `NotFoundError`."""
    for method in located.methods:
        if method.name == name:
            return method
    known = ", ".join(method.name for method in located.methods if method.name)
    if not name:
        raise NotFoundError(
            f"{located.function} is a class; use portico.Cls.from_name(...) and one of its methods: {known}"
        )
    raise NotFoundError(f"{located.function} has no method {name!r}; it has: {known or 'none'}")


def _by_public_name(
    spec: FunctionSpec, urls: Mapping[str, Sequence[str]]
) -> Mapping[str, Sequence[str]]:
    # The handle names methods; listings and URLs go by public names.
    return {
        spec.public_name(method): urls[method.name]
        for method in spec.methods
        if method.name in urls
    }
