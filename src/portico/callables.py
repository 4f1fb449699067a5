"""What can be told of a callable without calling it."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, TypeGuard

from portico.exception import InvalidError

AnyCallable = Callable[..., Any]


def display_name(target: object) -> str:
    """How messages name `target`: its qualified name without the enclosing functions."""
    name = getattr(target, "__qualname__", None) or type(target).__name__
    return str(name).rpartition("<locals>.")[2]


def in_class_body(function: AnyCallable) -> bool:
    """Whether `function` was defined directly in a class, told by its qualified name."""
    parent = function.__qualname__.rpartition(".")[0]
    return bool(parent) and not parent.endswith("<locals>")


def own_parameters(function: AnyCallable) -> list[inspect.Parameter]:
    """Parameters a caller gives: all of them, without ``self`` for a method."""
    parameters = list(inspect.signature(function).parameters.values())
    return parameters[1:] if in_class_body(function) else parameters


def is_async(function: AnyCallable) -> bool:
    """Whether `function` is ``async def``, with or without ``yield``."""
    raw = inspect.unwrap(function)
    return inspect.iscoroutinefunction(raw) or inspect.isasyncgenfunction(raw)


def is_generator(function: AnyCallable) -> bool:
    """Whether `function` has a ``yield``, async or not."""
    raw = inspect.unwrap(function)
    return inspect.isgeneratorfunction(raw) or inspect.isasyncgenfunction(raw)


def is_plain_function(target: object) -> TypeGuard[AnyCallable]:
    """Whether `target` is what ``def`` makes: callable, with names of its own, and no class."""
    return callable(target) and not isinstance(target, type) and hasattr(target, "__qualname__")


def refuse_bare(decorator: str, positional: tuple[object, ...]) -> None:
    """Raise `InvalidError` where `decorator` was used without parentheses or with positional arguments."""
    if not positional:
        return
    if callable(positional[0]) or hasattr(positional[0], "raw"):
        raise InvalidError(f"@{decorator} needs parentheses: write @{decorator}()")
    raise InvalidError(f"@{decorator} takes keyword arguments only, not {positional[0]!r}")
