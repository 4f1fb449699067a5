"""Functions of an app."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeVar

from portico.callables import (
    display_name,
    in_class_body,
    is_generator,
)
from portico.declaration import Declaration, importable_name
from portico.exception import InvalidError
from portico.invocation import Invocable
from portico.names import checked_function_name
from portico.options import Options, settle
from portico.origins import ByName, InApp, Origin
from portico.partial_function import (
    Concurrency,
    PartialFunction,
    Registered,
    role_name,
    undecorated,
)
from portico.wire.manifest import MethodSpec, WebSpec

if TYPE_CHECKING:
    from portico.app import App

P = ParamSpec("P")
R = TypeVar("R")
L = TypeVar("L")


class Function(Registered, Invocable[P, R], Generic[P, R, L]):
    """A function that runs in containers; `L` is what a local call returns.

    ``@app.function()`` makes one of a plain function, `from_name` finds one of a deployed app.
    """

    def __init__(
        self,
        origin: Origin,
        name: str,
        *,
        method: str = "",
        app: App | None = None,
        raw: Callable[P, L] | None = None,
        info: Declaration | None = None,
    ) -> None:
        super().__init__(origin, method)
        self._app = app
        self._raw = raw
        self._info = info
        self.__name__ = name
        self.__doc__ = raw.__doc__ if raw else None
        self.__qualname__ = raw.__qualname__ if raw else name
        self.__module__ = raw.__module__ if raw else __name__

    @classmethod
    def from_name(
        cls, app_name: str, name: str, *, environment_name: str | None = None
    ) -> Function[..., Any, Any]:
        """The function `name` of the deployed app `app_name`; looked up when it is first used.

        Without `environment_name` it is looked for in the environment that is in use (`PORTICO_ENVIRONMENT`).
        """
        function, _, method = name.partition(".")
        return Function(ByName(app_name, function, environment_name), name, method=method)

    @property
    def raw(self) -> Callable[P, L]:
        """The function as it was written.

        In a container, raises the ImportError that an ``imports()`` block of its image met there.
        """
        if self._raw is None:
            raise InvalidError(
                f"{self.__name__} was found by name, so its code is not here; call it with .remote()"
            )
        if self._app is not None:
            self._app.image_of(self.info).check_imports()
        return self._raw

    @property
    def app(self) -> App | None:
        """The app it was declared in; None for one found by name."""
        return self._app

    @property
    def code(self) -> Callable[P, L] | None:
        """What was decorated, as it is; None for one found by name."""
        return self._raw

    @property
    def info(self) -> Declaration:
        """What was declared of the function. Raises `InvalidError` for one found by name."""
        if self._info is None:
            raise InvalidError(f"{self.__name__} was found by name; it is declared elsewhere")
        return self._info

    @property
    def web(self) -> WebSpec | None:
        """How a declared function is reached over HTTP, if it is a web function."""
        return self.info.methods[0].web

    def local(self, *args: P.args, **kwargs: P.kwargs) -> L:
        """Call the function right here."""
        return self.raw(*args, **kwargs)

    def __repr__(self) -> str:
        return f"<Function {self.__name__}>"


def declare_function(app: App, target: object, options: Options) -> Function[..., Any, Any]:
    """Make the `Function` for ``@app.function`` on `target`. Raises `InvalidError` naming the fix."""
    if isinstance(target, type):
        raise InvalidError(
            f"@app.function() cannot decorate the class {target.__name__}; use @app.cls()"
        )
    raw = undecorated(target, "app.function")
    role, concurrency = _roles(target)
    name = display_name(raw)
    if role is not None and not isinstance(role, WebSpec):
        raise InvalidError(
            f"{name} has @{role_name(role)}, which is for methods; use @app.cls() on its class"
        )
    if in_class_body(raw):
        raise InvalidError(
            f"@app.function() cannot decorate the method {name}; put @app.cls() on the class and "
            "@portico.method() or a web decorator on the method"
        )
    settings = settle(options, concurrency)
    if settings.retries is not None and role is not None:
        raise InvalidError(
            f"{name} is a web function, and a request cannot be run again: remove retries"
        )
    serialized = settings.serialized or importable_name(raw.__module__) is None
    if "<locals>" in raw.__qualname__ and not serialized:
        raise InvalidError(
            f"{name} is defined inside another function, where containers cannot find it; move it to the top level "
            "of its module, or say @app.function(serialized=True)"
        )
    declaration = Declaration(
        name=checked_function_name(settings.name, raw),
        module=raw.__module__,
        qualname=raw.__qualname__,
        methods=(MethodSpec(web=role, is_generator=role is None and is_generator(raw)),),
        settings=settings,
    )
    return Function(InApp(app, declaration), declaration.name, app=app, raw=raw, info=declaration)


def _roles(target: object) -> tuple[Any, Concurrency | None]:
    if isinstance(target, PartialFunction):
        return target.role, target.concurrency
    return None, None
