"""Parameters of classes: values that choose the container pool."""

from __future__ import annotations

import base64
import inspect
import re
import sys
from collections.abc import Mapping, Sequence
from typing import Any, Union

from portico.exception import InvalidError
from portico.wire.manifest import (
    LARGEST_INT,
    SMALLEST_INT,
    ParameterSpec,
    ParameterType,
    ParameterValue,
)

Value = Union[str, int, bool, bytes]

SURROGATE = re.compile("[\ud800-\udfff]")
LIMITS = "an int has at most 64 bits, and a str is valid Unicode"

TYPES: dict[ParameterType, type] = {"str": str, "int": int, "bool": bool, "bytes": bytes}


class _Missing:
    def __repr__(self) -> str:
        return "..."


MISSING = _Missing()


class Parameter:
    """A declared class attribute; see `parameter`."""

    def __init__(self, default: Any, init: bool) -> None:
        self.default = default
        self.init = init

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, instance: object, owner: type) -> Parameter:
        # Values are attributes of the object and hide this; without one, say so as any attribute does.
        if instance is not None:
            raise AttributeError(f"{owner.__name__} has no value for {self._name!r} yet")
        return self


def parameter(*bare: object, default: Any = MISSING, init: bool = True) -> Any:
    """Declare a parameter of an ``@app.cls`` class: ``root: str = portico.parameter(default=".")``.

    Its annotation is ``str``, ``int``, ``bool`` or ``bytes``. Each combination of values has container pools of
    its own. With ``init=False`` it is a plain attribute that the constructor does not take.
    """
    if bare:
        raise InvalidError(
            f"parameter() takes keyword arguments only: write parameter(default={bare[0]!r})"
        )
    return Parameter(default, init)


def declared_parameters(user_class: type) -> dict[str, Parameter]:
    """Every `parameter` of a class, inherited ones first."""
    found: dict[str, Parameter] = {}
    for base in reversed(user_class.__mro__):
        for name, value in base.__dict__.items():
            if isinstance(value, Parameter):
                found[name] = value
            else:
                found.pop(name, None)
    return found


def parameter_specs(user_class: type) -> tuple[ParameterSpec, ...]:
    """What the constructor takes: declared parameters, else those of a written ``__init__``.

    Raises `InvalidError` for an unsupported or missing annotation, a default of another type, or both ways at once.
    """
    declared = declared_parameters(user_class)
    written = own_constructor(user_class)
    if not declared:
        return tuple(_from_signature(user_class, p) for p in written)
    if has_constructor(user_class):
        raise InvalidError(
            f"{user_class.__name__} has portico.parameter() fields and an __init__; keep the fields and move "
            "the code of __init__ into a method with @portico.enter()"
        )
    annotations = _annotations(user_class)
    return tuple(
        _spec(user_class, name, annotations.get(name), field.default)
        for name, field in declared.items()
        if field.init
    )


def has_constructor(user_class: type) -> bool:
    """Whether the class or a base of it (not ``object``) has an ``__init__`` written by its user."""
    return user_class.__init__ is not object.__init__  # type: ignore[misc]


def own_constructor(user_class: type) -> list[inspect.Parameter]:
    """Parameters of a written ``__init__``, without ``self``."""
    if not has_constructor(user_class):
        return []
    return list(inspect.signature(user_class.__init__).parameters.values())[1:]  # type: ignore[misc]


def checked_values(
    class_name: str, specs: Sequence[ParameterSpec], given: Mapping[str, object]
) -> dict[str, Value]:
    """`given` completed by defaults. Raises `InvalidError` for unknown, missing or ill-typed ones; nothing is cast."""
    known = {spec.name: spec for spec in specs}
    for name in given:
        if name not in known:
            expected = ", ".join(known) or "none"
            raise InvalidError(f"{class_name} has no parameter {name!r}; it has: {expected}")
    values: dict[str, Value] = {}
    for spec in specs:
        if spec.name in given:
            value = given[spec.name]
            if not fits(value, spec.type):
                raise InvalidError(
                    f"parameter {spec.name!r} of {class_name} is declared {spec.type}, and {value!r} is "
                    f"{type(value).__name__}; convert it before you pass it"
                )
            if not can_travel(value):
                raise InvalidError(
                    f"parameter {spec.name!r} of {class_name} cannot be {value!r}: {LIMITS}"
                )
            values[spec.name] = value  # type: ignore[assignment]
        elif spec.required:
            raise InvalidError(
                f"parameter {spec.name!r} of {class_name} has no default: "
                f"write {class_name}({spec.name}=...)"
            )
        elif spec.default is not None:
            values[spec.name] = from_wire(spec.default, spec.type)
    return values


def fits(value: object, type_name: ParameterType) -> bool:
    """Whether `value` is of that type exactly: True is no int."""
    return type(value) is TYPES[type_name]


def can_travel(value: object) -> bool:
    """Whether an URL can carry `value` too: an int of 64 bits, a str that is UTF-8."""
    if isinstance(value, int):
        return SMALLEST_INT <= value <= LARGEST_INT
    return not isinstance(value, str) or value.isascii() or not SURROGATE.search(value)


def to_wire(value: Value) -> ParameterValue:
    """`value` as it travels between processes: bytes as base64 text."""
    return base64.b64encode(value).decode("ascii") if isinstance(value, bytes) else value


def from_wire(value: ParameterValue, type_name: ParameterType) -> Value:
    """The inverse of `to_wire`."""
    return base64.b64decode(value) if type_name == "bytes" and isinstance(value, str) else value


def _spec(user_class: type, name: str, annotation: object, default: object) -> ParameterSpec:
    where = f"parameter {name!r} of {user_class.__name__}"
    if annotation is None:
        raise InvalidError(f"{where} has no annotation; write `{name}: str = portico.parameter()`")
    by_name = {python: type_name for type_name, python in TYPES.items()}
    type_name = by_name.get(annotation) if isinstance(annotation, type) else None
    if type_name is None:
        shown = annotation.__name__ if isinstance(annotation, type) else annotation
        raise InvalidError(f"{where} is annotated {shown}; use str, int, bool or bytes")
    if default is MISSING:
        return ParameterSpec(name=name, type=type_name)
    if not fits(default, type_name):
        raise InvalidError(f"{where} is declared {type_name}, and its default {default!r} is not")
    if not can_travel(default):
        raise InvalidError(f"{where} cannot have the default {default!r}: {LIMITS}")
    return ParameterSpec(name=name, type=type_name, required=False, default=to_wire(default))  # type: ignore[arg-type]


def _from_signature(user_class: type, argument: inspect.Parameter) -> ParameterSpec:
    if argument.kind in (argument.VAR_POSITIONAL, argument.VAR_KEYWORD, argument.POSITIONAL_ONLY):
        raise InvalidError(
            f"__init__ of {user_class.__name__} takes {argument}; declare each parameter as a class attribute "
            "with portico.parameter()"
        )
    default = MISSING if argument.default is argument.empty else argument.default
    annotation = None if argument.annotation is argument.empty else argument.annotation
    return _spec(user_class, argument.name, _resolved(annotation, user_class), default)


def _annotations(user_class: type) -> dict[str, object]:
    merged: dict[str, object] = {}
    for base in reversed(user_class.__mro__):
        for name, annotation in _raw_annotations(base).items():
            merged[name] = _resolved(annotation, base)
    return merged


def _raw_annotations(user_class: type) -> dict[str, Any]:
    if sys.version_info >= (3, 14):
        import annotationlib

        return annotationlib.get_annotations(user_class, format=annotationlib.Format.FORWARDREF)
    return inspect.get_annotations(user_class)


def _resolved(annotation: object, user_class: type) -> object:
    # Only parameters matter, and their types are builtins: no other name of the class is evaluated.
    if isinstance(annotation, str):
        return {str(name): python for name, python in TYPES.items()}.get(annotation, annotation)
    return annotation
