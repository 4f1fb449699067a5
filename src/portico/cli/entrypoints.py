"""What ``portico run`` runs: choosing it in a loaded script, and its arguments."""

from __future__ import annotations

import argparse
import inspect
import types
import typing
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from portico.app import App
from portico.entrypoint import LocalEntrypoint
from portico.exception import InvalidError
from portico.functions import Function

SCALARS = (str, int, float)


class Entry:
    """Something to run: `raw` has the signature, `call` runs it. `local` is what runs in this process."""

    def __init__(
        self, app: App, name: str, raw: Callable[..., Any], call: Callable[..., Any], local: bool
    ) -> None:
        self.app = app
        self.name = name
        self.raw = raw
        self.call = call
        self.local = local


def find_entry(module: ModuleType, name: str | None) -> Entry:
    """The local entrypoint or plain function `name`; without a name the only one. Raises `InvalidError`."""
    entries = _entries(module)
    where = getattr(module, "__file__", None) or module.__name__
    if not entries:
        raise InvalidError(
            f"{where} has nothing to run\n"
            "Put @app.local_entrypoint() on a function; for web functions use `portico serve`."
        )
    known = ", ".join(entries)
    if name is not None:
        if name not in entries:
            raise InvalidError(f"{where} has nothing to run called {name!r}; it has: {known}")
        return entries[name]
    candidates = [entry for entry in entries.values() if entry.local] or list(entries.values())
    if len(candidates) > 1:
        first = f"{Path(where).name}::{candidates[0].name}"
        raise InvalidError(f"{where} has several things to run ({known}); name one, as in {first}")
    return candidates[0]


def parse_arguments(entry: Entry, arguments: Sequence[str], program: str) -> dict[str, Any]:
    """`arguments` as keywords of the entry. Raises `InvalidError`; exits with 2 on wrong usage."""
    parser = argparse.ArgumentParser(prog=program, allow_abbrev=False)
    hints = typing.get_type_hints(entry.raw)
    for parameter in inspect.signature(entry.raw).parameters.values():
        if parameter.kind in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL):
            continue
        wanted = _plain_type(hints.get(parameter.name, str), parameter.name)
        options: dict[str, Any] = {
            "dest": parameter.name,
            "required": parameter.default is parameter.empty,
            "default": argparse.SUPPRESS,
        }
        if wanted is bool:
            options["action"] = argparse.BooleanOptionalAction
        else:
            options["type"] = wanted
        parser.add_argument(f"--{parameter.name.replace('_', '-')}", **options)
    return vars(parser.parse_args(list(arguments)))


def _entries(module: ModuleType) -> dict[str, Entry]:
    entries: dict[str, Entry] = {}
    for app in [value for value in vars(module).values() if isinstance(value, App)]:
        for entrypoint in app.registered_entrypoints.values():
            entries[entrypoint.name] = _local(app, entrypoint)
        for function in app.registered_functions.values():
            if function.web is None:
                entries.setdefault(function.info.name, _remote(app, function))
    return entries


def _local(app: App, entrypoint: LocalEntrypoint) -> Entry:
    return Entry(app, entrypoint.name, entrypoint.raw, entrypoint.raw, local=True)


def _remote(app: App, function: Function[..., Any, Any]) -> Entry:
    return Entry(app, function.info.name, function.raw, function.remote, local=False)


def _plain_type(annotation: Any, name: str) -> Any:
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        rest = [one for one in typing.get_args(annotation) if one is not type(None)]
        annotation = rest[0] if len(rest) == 1 else annotation
    if annotation in (*SCALARS, bool):
        return annotation
    if annotation in (Any, inspect.Parameter.empty):
        return str
    raise InvalidError(
        f"parameter {name!r} cannot come from the command line: annotate it as str, int, float or bool"
    )
