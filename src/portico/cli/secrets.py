"""`portico secret`: values for functions' environments. They are never printed."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="Secrets, for functions' environments.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(metavar="NAME", help="The secret's name.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]


@app.command()
def create(
    name: Name,
    values: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="KEY=VALUE...", help="KEY=- asks for the value, or reads it from stdin."
        ),
    ] = None,
    from_dotenv: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Take the values of a dotenv file.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing secret.")] = False,
    json: Json = False,
) -> None:
    """Store a secret. Values given on the command line are seen by `ps` and the shell's history."""
    given = {**(dotenv_values(from_dotenv) if from_dotenv else {}), **assignments(values or ())}
    if not given:
        raise typer.BadParameter("give KEY=VALUE, KEY=- or --from-dotenv FILE")

    from portico.cli.output import console, print_json
    from portico.client import connect
    from portico.exception import AlreadyExistsError

    with connect() as client:
        try:
            info = client.put_secret(name, given, overwrite=force)
        except AlreadyExistsError as error:
            raise AlreadyExistsError(f"{error}\nReplace it with --force.") from error
    if json:
        print_json(info)
    else:
        console().print(f"Stored {info.name} with {', '.join(info.keys)}.")


@app.command("list")
def list_secrets(json: Json = False) -> None:
    """List secrets and their keys."""
    from portico.cli.output import age, print_list
    from portico.client import connect

    with connect() as client:
        secrets = client.secrets()
    print_list(
        secrets,
        {
            "NAME": lambda info: info.name,
            "KEYS": lambda info: ", ".join(info.keys),
            "CREATED": lambda info: age(info.created_at),
            "UPDATED": lambda info: age(info.updated_at),
        },
        as_json=json,
        empty="No secrets. `portico secret create NAME KEY=VALUE` makes one.",
    )


@app.command()
def delete(name: Name) -> None:
    """Delete a secret; containers that run keep its values."""
    from portico.cli.output import console
    from portico.client import connect

    with connect() as client:
        client.delete_secret(name)
    console().print(f"Deleted {name}.")


def assignments(texts: Sequence[str]) -> dict[str, str]:
    """``KEY=VALUE`` texts as a dictionary; ``KEY=-`` is asked for. The error never repeats a value."""
    values: dict[str, str] = {}
    for number, text in enumerate(texts, start=1):
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise typer.BadParameter(f"value {number} is not KEY=VALUE")
        values[key] = ask(key) if value == "-" else value
    if sum(text.endswith("=-") for text in texts) > 1 and not sys.stdin.isatty():
        raise typer.BadParameter("stdin holds one value; only one KEY=- can read it")
    return values


def ask(key: str) -> str:
    """One value, typed without echo, or all of stdin without its last line break."""
    if sys.stdin.isatty():
        return str(typer.prompt(f"Value of {key}", hide_input=True, err=True))
    return sys.stdin.read().removesuffix("\n")


def dotenv_values(path: Path) -> dict[str, str]:
    """The variables that a dotenv file sets."""
    from portico.dotenv import parse

    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise typer.BadParameter(f"cannot read {path}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise typer.BadParameter(f"cannot read {path} as UTF-8: {error}") from None
    return parse(text, os.environ)
