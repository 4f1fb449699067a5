"""Names of apps, functions and classes."""

from __future__ import annotations

import re

from portico.callables import AnyCallable
from portico.checks import text
from portico.exception import InvalidError
from portico.wire.names import app_name_problem, environment_problem

FUNCTION_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_-]{0,62}[A-Za-z0-9_])?")


def checked_app_name(name: str) -> str:
    """`name` if URLs can carry it, else `InvalidError`."""
    if problem := app_name_problem(text("an app's name", name)):
        raise InvalidError(problem)
    return name


def checked_environment(name: str | None) -> str | None:
    """`name` if URLs can carry it, or None for the one that is in use. Raises `InvalidError`."""
    if name is not None and (problem := environment_problem(text("environment_name", name))):
        raise InvalidError(problem)
    return name


def environment_or_default(name: str | None) -> str:
    """`name`, or else the environment that is in use where this runs. Raises `InvalidError`."""
    from portico.client.discovery import environment

    return checked_environment(name) or environment()


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
