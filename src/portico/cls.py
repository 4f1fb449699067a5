"""Classes of an app, whose methods share containers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from portico.declaration import Declaration, importable_name
from portico.exception import InvalidError
from portico.invocation import Invocable
from portico.lifecycle import concurrency_of
from portico.names import checked_function_name
from portico.options import Options, settle
from portico.origins import ByName, InApp, Origin
from portico.parameter import (
    MISSING,
    Value,
    checked_values,
    declared_parameters,
    from_wire,
    parameter_specs,
)
from portico.partial_function import Hook, Method, PartialFunction, Registered, declared_in
from portico.wire.manifest import MethodSpec

if TYPE_CHECKING:
    from portico.app import App
    from portico.local_object import LocalObject


class Cls(Registered):
    """A class that runs in containers: call it with its parameters, then its methods.

    ``@app.cls()`` makes one of a plain class, `from_name` finds one of a deployed app.
    """

    def __init__(
        self,
        origin: Origin,
        name: str,
        *,
        app: App | None = None,
        user_class: type | None = None,
        info: Declaration | None = None,
    ) -> None:
        self._origin = origin
        self._app = app
        self._user_class = user_class
        self._info = info
        self.__name__ = name
        self.__doc__ = user_class.__doc__ if user_class else None
        self.__qualname__ = user_class.__qualname__ if user_class else name
        self.__module__ = user_class.__module__ if user_class else __name__

    @classmethod
    def from_name(cls, app_name: str, name: str, *, environment_name: str | None = None) -> Cls:
        """The class `name` of the deployed app `app_name`; looked up when it is first used.

        Without `environment_name` it is looked for in the environment that is in use (`PORTICO_ENVIRONMENT`).
        """
        return cls(ByName(app_name, name, environment_name), name)

    @property
    def user_class(self) -> type:
        """The plain class as it was written.

        In a container, raises the ImportError that an ``imports()`` block of its image met there.
        """
        if self._user_class is None:
            raise InvalidError(f"{self.__name__} was found by name, so its code is not here")
        if self._app is not None:
            self._app.image_of(self.info).check_imports()
        return self._user_class

    @property
    def app(self) -> App | None:
        """The app it was declared in; None for one found by name."""
        return self._app

    @property
    def code(self) -> type | None:
        """What was decorated, as it is; None for one found by name."""
        return self._user_class

    @property
    def info(self) -> Declaration:
        """What was declared of the class. Raises `InvalidError` for one found by name."""
        if self._info is None:
            raise InvalidError(f"{self.__name__} was found by name; it is declared elsewhere")
        return self._info

    def __call__(self, *positional: object, **parameters: Any) -> Obj:
        """The class with these values of its parameters; no container starts for it yet."""
        if positional:
            raise InvalidError(
                f"{self.__name__} takes its parameters by name: write {self.__name__}(name=…), "
                f"not {self.__name__}({positional[0]!r})"
            )
        if self._info is None:
            return Obj(self._origin, self.__name__, parameters, None)
        values = checked_values(self.__name__, self._info.parameters, parameters)
        return Obj(self._origin, self.__name__, values, self._user_class)

    def __mro_entries__(self, bases: tuple[Any, ...]) -> tuple[type, ...]:
        # `class B(A)` below an @app.cls() class A inherits from the plain class.
        return (self.user_class,)

    def __getattr__(self, name: str) -> Any:
        user_class = self.__dict__.get("_user_class")
        if user_class is None:
            raise AttributeError(
                f"{self.__dict__.get('__name__', 'Cls')!r} has no attribute {name!r}; "
                "methods belong to its objects: call the class first"
            )
        found = getattr(user_class, name)
        if isinstance(found, PartialFunction):
            raise InvalidError(
                f"methods belong to objects of {self.__name__}: write {self.__name__}().{name}, with values for "
                "its parameters in the parentheses"
            )
        return found

    def __repr__(self) -> str:
        return f"<Cls {self.__name__}>"


class Obj:
    """A class with values for its parameters. Its methods can be called remotely or locally."""

    def __init__(
        self,
        origin: Origin,
        class_name: str,
        parameters: Mapping[str, Value],
        user_class: type | None,
    ) -> None:
        self._origin = origin
        self._class_name = class_name
        self._parameters = parameters
        self._local = None if user_class is None else _local_object(user_class, parameters)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        if self._local is None:
            return ObjMethod(self, name)
        partial = self._local.declared.get(name)
        if partial is not None and not isinstance(partial.role, Hook):
            return ObjMethod(self, name)
        return getattr(self._local.instance(), name)

    def __repr__(self) -> str:
        values = ", ".join(f"{name}={value!r}" for name, value in self._parameters.items())
        return f"{self._class_name}({values})"


class ObjMethod(Invocable[..., Any]):
    """One method of an object."""

    def __init__(self, obj: Obj, name: str) -> None:
        super().__init__(obj._origin, name, lambda: obj._parameters)
        self._obj = obj
        self.__name__ = name

    def local(self, *args: Any, **kwargs: Any) -> Any:
        """Call the method right here; the object's enter hooks run before its first local call."""
        if self._obj._local is None:
            raise InvalidError(
                f"{self._obj._class_name} was found by name, so its code is not here; use .remote()"
            )
        return self._obj._local.call(self.__name__, args, kwargs)

    def __repr__(self) -> str:
        return f"<method {self._obj!r}.{self.__name__}>"


def _local_object(user_class: type, parameters: Mapping[str, Value]) -> LocalObject:
    from portico.local_object import LocalObject

    return LocalObject(user_class, lambda: instantiate(user_class, parameters))


def declare_class(app: App, target: object, options: Options) -> Cls:
    """Make the `Cls` for ``@app.cls`` on `target`. Raises `InvalidError` naming the fix."""
    if isinstance(target, Registered):
        raise InvalidError(f"{target!r} is decorated already; remove one of the decorators")
    if not isinstance(target, type):
        raise InvalidError(f"@app.cls() decorates a class, not {target!r}; use @app.function()")
    methods = _methods(target)
    settings = settle(options, concurrency_of(target))
    if settings.retries is not None and all(method.web for method in methods):
        raise InvalidError(
            f"{target.__name__} has only web functions, and a request cannot be run again: remove retries"
        )
    serialized = settings.serialized or importable_name(target.__module__) is None
    if "<locals>" in target.__qualname__ and not serialized:
        raise InvalidError(
            f"{target.__name__} is defined inside a function, where containers cannot find it; move it to the top "
            "level of its module, or say @app.cls(serialized=True)"
        )
    declaration = Declaration(
        name=checked_function_name(settings.name, target),
        module=target.__module__,
        qualname=target.__qualname__,
        methods=methods,
        settings=settings,
        is_class=True,
        parameters=parameter_specs(target),
    )
    return Cls(
        InApp(app, declaration), declaration.name, app=app, user_class=target, info=declaration
    )


def instantiate(user_class: type, parameters: Mapping[str, Any]) -> Any:
    """An object of `user_class` with these parameters, completed by defaults; hooks have not run.

    Declared parameters become attributes; those of a written ``__init__`` are passed to it. Values of bytes
    parameters may come as base64 text. Raises `InvalidError` for ones that do not fit.
    """
    specs = parameter_specs(user_class)
    types = {spec.name: spec.type for spec in specs}
    given = {
        name: from_wire(value, types[name]) if name in types else value
        for name, value in parameters.items()
    }
    values = checked_values(user_class.__name__, specs, given)
    declared = declared_parameters(user_class)
    if not declared:
        return user_class(**values)
    instance = user_class()
    for name, field in declared.items():
        if name in values:
            setattr(instance, name, values[name])
        elif field.default is not MISSING:
            setattr(instance, name, field.default)
    return instance


def _methods(user_class: type) -> tuple[MethodSpec, ...]:
    found: list[MethodSpec] = []
    for name, partial in declared_in(user_class).items():
        if partial.web is not None:
            found.append(MethodSpec(name=name, web=partial.web))
        elif isinstance(partial.role, Method):
            found.append(MethodSpec(name=name, is_generator=partial.role.is_generator))
    if not found:
        raise InvalidError(
            f"{user_class.__name__} has nothing to call; put @portico.method() or a web decorator on a method"
        )
    return tuple(found)
