"""Callables that carry a declaration until ``@app.function`` or ``@app.cls`` collects them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, Literal, NamedTuple, ParamSpec, Protocol, TypeVar, Union, overload

from portico.callables import AnyCallable, display_name, is_plain_function
from portico.exception import InvalidError
from portico.wire.manifest import WebSpec

P = ParamSpec("P")
R = TypeVar("R")

HookKind = Literal["enter_snap", "enter", "exit"]


class Hook(NamedTuple):
    """A lifecycle hook of a class."""

    kind: HookKind


class Method(NamedTuple):
    """A method of a class that clients call."""

    is_generator: bool


class Concurrency(NamedTuple):
    """Inputs a container takes at once, and how many the autoscaler aims at."""

    max_inputs: int
    target_inputs: int | None


Role = Union[WebSpec, Hook, Method]


class Registered:
    """Base of what ``@app.function`` and ``@app.cls`` return: no further decorator belongs on top."""


def role_name(role: Role) -> str:
    """The decorator that gave `role`."""
    if isinstance(role, WebSpec):
        return role.kind
    if isinstance(role, Method):
        return "method"
    return "enter" if role.kind == "enter_snap" else role.kind


class PartialFunction(Generic[P, R]):
    """A callable with the roles that decorators gave it; on an instance of a class it is a plain method."""

    def __init__(
        self,
        raw: Callable[P, R],
        role: Role | None = None,
        concurrency: Concurrency | None = None,
    ) -> None:
        self.raw = raw
        self.role = role
        self.concurrency = concurrency
        self.__doc__ = raw.__doc__
        self.__name__ = raw.__name__
        self.__qualname__ = raw.__qualname__
        self.__module__ = raw.__module__

    @property
    def web(self) -> WebSpec | None:
        """The web function this is, if it is one."""
        return self.role if isinstance(self.role, WebSpec) else None

    def __get__(self, instance: object, owner: type) -> Any:
        # Two things to a type checker: a plain method to code inside the class, which calls it as usual,
        # and something with `.remote` to code outside, where the class is a `Cls`.
        return self if instance is None else self.raw.__get__(instance, owner)

    def __repr__(self) -> str:
        given = f"@{role_name(self.role)} " if self.role else ""
        return f"<{given}{self.__qualname__}>"


class PartialDecorator(Protocol):
    """What a decorator below ``@app.function`` or inside a class returns when it is given its options."""

    @overload
    def __call__(self, target: PartialFunction[P, R], /) -> PartialFunction[P, R]: ...
    @overload
    def __call__(self, target: Callable[P, R], /) -> PartialFunction[P, R]: ...


def give_role(target: object, role: Role) -> PartialFunction[..., Any]:
    """`target` with `role`; it keeps a concurrency it has. Raises `InvalidError` naming the fix."""
    decorator = role_name(role)
    raw = undecorated(target, decorator)
    if not isinstance(target, PartialFunction):
        return PartialFunction(raw, role)
    if target.role is not None:
        raise InvalidError(
            f"{display_name(target)} has both @{role_name(target.role)} and @{decorator}; keep one of "
            "them, and put a shared body into a function that both call"
        )
    return PartialFunction(raw, role, target.concurrency)


def undecorated(target: object, decorator: str) -> AnyCallable:
    """The plain function in `target`. Raises `InvalidError` where `decorator` does not belong on it."""
    if isinstance(target, Registered):
        raise InvalidError(
            f"@{decorator} stands above @app.function or @app.cls on {display_name(target)}; swap them: "
            "@app.function() and @app.cls() are always the topmost decorator"
        )
    if isinstance(target, PartialFunction):
        return target.raw
    if isinstance(target, (staticmethod, classmethod, property)):
        raise InvalidError(
            f"@{decorator} cannot decorate a {type(target).__name__}; use it on a plain method"
        )
    if isinstance(target, type):
        raise InvalidError(
            f"@{decorator} cannot decorate the class {target.__name__}; use it on one of its methods"
        )
    if not is_plain_function(target):
        raise InvalidError(f"@{decorator} decorates a function, not {target!r}")
    return target


def declared_in(user_class: type) -> dict[str, PartialFunction[..., Any]]:
    """Decorated attributes of `user_class` in definition order, inherited ones first.

    An attribute that a subclass overrides without a decorator is not declared any more.
    """
    found: dict[str, PartialFunction[..., Any]] = {}
    for base in reversed(user_class.__mro__):
        for name, value in base.__dict__.items():
            if isinstance(value, PartialFunction):
                found[name] = value
            else:
                found.pop(name, None)
    return found
