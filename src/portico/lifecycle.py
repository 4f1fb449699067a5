"""Lifecycle of a class in its container, its callable methods, and concurrency."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, ParamSpec, TypeVar, overload

from portico.callables import (
    AnyCallable,
    display_name,
    in_class_body,
    is_generator,
    own_parameters,
    refuse_bare,
)
from portico.checks import whole
from portico.exception import InvalidError
from portico.partial_function import (
    Concurrency,
    Hook,
    Method,
    PartialDecorator,
    PartialFunction,
    declared_in,
    give_role,
    undecorated,
)

P = ParamSpec("P")
R = TypeVar("R")
C = TypeVar("C", bound=type)

CONCURRENCY_ATTRIBUTE = "__portico_concurrency__"


class Hooks(NamedTuple):
    """Raw hooks of a class, each taking ``self``, in definition order, inherited ones first."""

    enter_snap: list[AnyCallable]
    enter: list[AnyCallable]
    exit: list[AnyCallable]


def enter(*bare: object, snap: bool = False) -> PartialDecorator:
    """Run the method when a container starts, before its first input; ``async def`` is fine.

    With ``snap=True`` it runs before the memory snapshot is taken, so only once for many containers of a class
    with ``enable_memory_snapshot=True``.
    """
    refuse_bare("enter", bare)
    return lambda target: _hook(target, Hook("enter_snap" if snap else "enter"), "enter")


def exit(
    *bare: object,
) -> PartialDecorator:
    """Run the method when a container stops, after its last input; ``async def`` is fine."""
    refuse_bare("exit", bare)
    return lambda target: _hook(target, Hook("exit"), "exit")


def method(*bare: object, is_generator: bool | None = None) -> PartialDecorator:
    """Make a method of an ``@app.cls`` class callable: ``Class().method.remote(...)``.

    `is_generator` overrules what is told from the method's ``yield``, for methods that return generators.
    """
    refuse_bare("method", bare)

    def decorate(target: Any) -> PartialFunction[Any, Any]:
        raw = undecorated(target, "method")
        _require_class(raw, "method", "use @app.function() for a function")
        return give_role(target, Method(_yields(raw) if is_generator is None else is_generator))

    return decorate


class ConcurrentDecorator:
    """What ``concurrent(...)`` returns; it decorates a function or a whole class."""

    def __init__(self, concurrency: Concurrency) -> None:
        self._concurrency = concurrency

    @overload
    def __call__(self, target: C) -> C: ...  # type: ignore[overload-overlap]
    @overload
    def __call__(self, target: PartialFunction[P, R]) -> PartialFunction[P, R]: ...
    @overload
    def __call__(self, target: Callable[P, R]) -> PartialFunction[P, R]: ...
    def __call__(self, target: Any) -> Any:
        if isinstance(target, type):
            setattr(target, CONCURRENCY_ATTRIBUTE, self._concurrency)
            return target
        raw = undecorated(target, "concurrent")
        if in_class_body(raw):
            raise InvalidError(
                f"@concurrent cannot decorate the method {display_name(raw)}: the methods of a class share "
                "its containers; put it on the class, below @app.cls()"
            )
        role = target.role if isinstance(target, PartialFunction) else None
        return PartialFunction(raw, role, self._concurrency)


def concurrent(
    *bare: object, max_inputs: int = 0, target_inputs: int | None = None
) -> ConcurrentDecorator:
    """Let one container work on up to `max_inputs` inputs at once.

    The autoscaler adds containers as if each took `target_inputs`, which leaves room for bursts. Goes below
    ``@app.function()`` or ``@app.cls()``. Raises `InvalidError` for numbers that cannot be.
    """
    if bare or not max_inputs:
        raise InvalidError("@concurrent needs the number: write @concurrent(max_inputs=10)")
    return ConcurrentDecorator(checked_concurrency(max_inputs, target_inputs))


def checked_concurrency(max_inputs: int, target_inputs: int | None) -> Concurrency:
    """The two numbers together, or `InvalidError`."""
    whole("max_inputs", max_inputs, 1)
    if target_inputs is not None and whole("target_inputs", target_inputs, 1) > max_inputs:
        raise InvalidError(
            f"target_inputs={target_inputs} is more than max_inputs={max_inputs}; the target is what the "
            "autoscaler aims at, so lower it or raise max_inputs"
        )
    return Concurrency(max_inputs, target_inputs)


def hooks(user_class: type) -> Hooks:
    """The lifecycle hooks of a class."""
    found = Hooks([], [], [])
    for partial in declared_in(user_class).values():
        if isinstance(partial.role, Hook):
            getattr(found, partial.role.kind).append(partial.raw)
    return found


def methods(user_class: type) -> dict[str, AnyCallable]:
    """The raw methods of a class that clients call, by name, in definition order."""
    return {
        name: partial.raw
        for name, partial in declared_in(user_class).items()
        if isinstance(partial.role, Method)
    }


def concurrency_of(user_class: type) -> Concurrency | None:
    """What ``@concurrent`` on the class itself (not on a base of it) said."""
    found = user_class.__dict__.get(CONCURRENCY_ATTRIBUTE)
    return found if isinstance(found, Concurrency) else None


def _hook(target: Any, role: Hook, decorator: str) -> PartialFunction[Any, Any]:
    raw = undecorated(target, decorator)
    _require_class(raw, decorator, "classes decorated with @app.cls() have a lifecycle")
    if own_parameters(raw):
        raise InvalidError(
            f"{display_name(raw)} takes arguments, but nothing can give them to @{decorator}; "
            "let it take self only"
        )
    if _yields(raw):
        raise InvalidError(
            f"{display_name(raw)} is a generator; split it into an @enter() and an @exit() method"
        )
    return give_role(target, role)


def _require_class(raw: AnyCallable, decorator: str, fix: str) -> None:
    if not in_class_body(raw):
        raise InvalidError(
            f"@{decorator} belongs on a method of a class, and {display_name(raw)} is none; {fix}"
        )


# `method` has an option of this name, which hides the function inside it.
_yields = is_generator
