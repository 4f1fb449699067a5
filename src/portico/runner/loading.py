"""Finds the user's function or class in this process and takes it out of its SDK wrapper."""

from __future__ import annotations

import importlib
import operator
import sys
from collections.abc import Callable
from types import MethodType
from typing import Any

import cloudpickle  # type: ignore[import-untyped]

from portico import modal_alias
from portico.cls import Cls, instantiate
from portico.functions import Function
from portico.lifecycle import Hooks, hooks, methods
from portico.runner.failures import CannotServe
from portico.web import web_methods
from portico.wire.container import ContainerSpec
from portico.wire.manifest import FunctionSpec, WebSpec

Target = Callable[..., Any]


def prepare_imports(spec: ContainerSpec) -> None:
    """Put the app's files first on the path, and let ``import modal`` mean Portico."""
    sys.path.insert(0, spec.source_root)
    modal_alias.install()


def load(function: FunctionSpec) -> Target:
    """The raw function or the plain class. Raises what the user's module raises, or `CannotServe`."""
    if function.serialized is not None:
        return unwrapped(cloudpickle.loads(function.serialized))
    module = importlib.import_module(function.module)
    try:
        found = operator.attrgetter(function.qualname)(module)
    except AttributeError:
        raise CannotServe(
            f"module {function.module!r} has no {function.qualname!r} when a container imports it; "
            "define it at the top level, or use serialized=True"
        ) from None
    return unwrapped(found)


def unwrapped(found: object) -> Target:
    """What the user wrote, behind the SDK's object for it."""
    if isinstance(found, Function):
        return found.raw
    if isinstance(found, Cls):
        return found.user_class
    if not callable(found):
        raise CannotServe(f"{found!r} is neither a function nor a class")
    return found


class LoadedFunction:
    """A plain function: one target with an empty name and no hooks."""

    hooks = Hooks([], [], [])

    def __init__(self, spec: FunctionSpec, target: Target) -> None:
        web = spec.methods[0].web
        self.web: dict[str, tuple[Target, WebSpec]] = {"": (target, web)} if web else {}
        self.callables: dict[str, Target] = {} if web else {"": target}


class LoadedClass:
    """An instance of the user's class, with its methods bound to it."""

    def __init__(self, spec: ContainerSpec, user_class: type) -> None:
        instance = instantiate(user_class, spec.parameters)
        self.hooks = bound_hooks(instance, user_class)
        self.web: dict[str, tuple[Target, WebSpec]] = {
            name: (MethodType(raw, instance), web)
            for name, (raw, web) in web_methods(user_class).items()
        }
        self.callables: dict[str, Target] = {
            name: MethodType(raw, instance) for name, raw in methods(user_class).items()
        }


def bound_hooks(instance: object, user_class: type) -> Hooks:
    """The lifecycle hooks of `user_class`, bound to `instance`."""
    found = hooks(user_class)
    return Hooks(
        enter_snap=[MethodType(raw, instance) for raw in found.enter_snap],
        enter=[MethodType(raw, instance) for raw in found.enter],
        exit=[MethodType(raw, instance) for raw in found.exit],
    )
