"""`--env`: the environment that the app of a command is in."""

from __future__ import annotations

import os
from typing import Annotated

import typer

InEnvironment = Annotated[
    str | None,
    typer.Option("--env", "-e", metavar="NAME", help="The environment that the app is in."),
]
OfEnvironment = Annotated[
    str | None, typer.Option("--env", "-e", metavar="NAME", help="Only of this environment.")
]


def environment_in_use(given: str | None) -> str:
    """The environment to work in: `given`, else that of the variable or the config file, else ``main``.

    The user's code that this command runs finds it in the variable, and so do look-ups from there. Raises a
    usage error for a name that no URL can carry.
    """
    from portico.client.discovery import ENVIRONMENT_VARIABLE, configured_environment

    name = checked(configured_environment() if given is None else given)
    os.environ[ENVIRONMENT_VARIABLE] = name
    return name


def checked(name: str) -> str:
    """`name`, or a usage error where it can name no environment."""
    from portico.wire.names import environment_problem

    if problem := environment_problem(name):
        raise typer.BadParameter(problem)
    return name
