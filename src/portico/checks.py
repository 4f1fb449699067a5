"""Checks of values that users give, against types that annotations cannot enforce at run time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from portico.exception import InvalidError


def whole(name: str, value: Any, least: int) -> int:
    """`value` if it is a whole number of at least `least`; True is none."""
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise InvalidError(f"{name} must be a whole number of at least {least}, not {value!r}")
    return value


def positive(name: str, value: Any) -> float:
    """`value` as a float if it is a number above 0."""
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not value > 0:
        raise InvalidError(f"{name} must be a number above 0, not {value!r}")
    return float(value)


def text(name: str, value: Any) -> str:
    """`value` if it is a non-empty string."""
    if not isinstance(value, str) or not value:
        raise InvalidError(f"{name} must be a non-empty string, not {value!r}")
    return value


def variables(what: str, given: Mapping[Any, Any]) -> dict[str, str]:
    """`given` as environment variables. Raises `InvalidError` where a key or a value is no string.

    The message never has a value in it, which may be a secret.
    """
    for key, value in given.items():
        if not isinstance(key, str) or not key or "=" in key:
            raise InvalidError(f"{what}: {key!r} cannot name an environment variable")
        if not isinstance(value, str):
            raise InvalidError(
                f"{what}: the value of {key!r} is of type {type(value).__name__}; convert it with str()"
            )
    return dict(given)
