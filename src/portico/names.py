"""Names of apps, functions and classes."""

from __future__ import annotations

import re

from portico.callables import AnyCallable
from portico.checks import text
from portico.exception import InvalidError
from portico.wire.names import app_name_problem

FUNCTION_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_-]{0,62}[A-Za-z0-9_])?")


def checked_app_name(name: str) -> str:
    """`name` if URLs can carry it, else `InvalidError`."""
    if problem := app_name_problem(text("an app's name", name)):
        raise InvalidError(problem)
    return name


def checked_environment(name: str | None) -> None:
    """Raise `InvalidError` for an environment other than the one there is."""
    if name not in (None, "main"):
        raise InvalidError(f"there is no environment {name!r}; this server has only 'main'")


def checked_function_name(chosen: str | None, target: AnyCallable | type) -> str:
    """The name of a function or class: `chosen`, else its own. Raises `InvalidError`."""
    if chosen is not None:
        if not FUNCTION_NAME.fullmatch(chosen):
            raise InvalidError(
                f"name {chosen!r} cannot be part of a URL: use 1 to 64 letters, digits, '_' and '-', beginning with "
                "a letter or digit"
            )
        return chosen
    if not target.__name__.isidentifier():
        raise InvalidError(
            f"{target.__name__} has no name for a URL; define it with `def`, or give name="
        )
    return target.__name__
