"""Loading a user's script, and finding the app in it."""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

from portico import modal_alias
from portico.app import App
from portico.exception import InvalidError


class Reference(NamedTuple):
    """What a command line names: a file or dotted module, and possibly a name in it."""

    target: str
    name: str | None


def parse_reference(text: str) -> Reference:
    """``FILE``, ``FILE::name`` or ``package.module::name``. Raises `InvalidError`."""
    target, separator, name = text.partition("::")
    if not target or (separator and not name):
        raise InvalidError(f"{text!r} names no script; write FILE, FILE::name or package.module")
    return Reference(target, name or None)


def load_script(path: str | os.PathLike[str]) -> ModuleType:
    """Import the user's script: a file by its stem with its folder first in ``sys.path``, or a dotted module.

    ``import modal`` means Portico from here on. The user's own exceptions pass through. Raises `InvalidError` for
    a script that is not there, or whose name containers could not import.
    """
    modal_alias.install()
    target = parse_reference(os.fspath(path)).target
    file = Path(target)
    if file.suffix == ".py" or file.exists():
        return _load_file(file)
    if not all(part.isidentifier() for part in target.split(".")):
        raise InvalidError(f"there is no file {target}; give the path of a Python script")
    return _load_module(target)


def find_app(module: ModuleType, name: str | None = None) -> App:
    """The app of a loaded script: the one whose variable or own name is `name`, else its only one.

    An app that another one includes does not count as a second. Raises `InvalidError`.
    """
    apps = {key: value for key, value in vars(module).items() if isinstance(value, App)}
    where = getattr(module, "__file__", None) or module.__name__
    if name is not None:
        named = [app for key, app in apps.items() if name in (key, app.name)]
        if not named:
            known = ", ".join(apps) or "none"
            raise InvalidError(f"{where} has no app {name!r}; its apps are: {known}")
        return named[0]
    included = {id(inner) for app in apps.values() for inner in app.included}
    distinct = {id(app): key for key, app in apps.items() if id(app) not in included}
    if not distinct:
        raise InvalidError(
            f"{where} has no app; write `app = portico.App()` at its top level and @app.function() above its functions"
        )
    if len(distinct) > 1:
        known = ", ".join(distinct.values())
        raise InvalidError(
            f"{where} has several apps ({known}); say which one, as in {Path(where).name}::{min(distinct.values())}"
        )
    return apps[next(iter(distinct.values()))]


def _load_file(file: Path) -> ModuleType:
    if not file.is_file():
        raise InvalidError(f"there is no file {file}; give the path of a Python script")
    name = file.stem
    if "." in name or file.suffix != ".py":
        raise InvalidError(
            f"containers cannot import {file.name} by its name; rename it like {name.replace('.', '_')}.py"
        )
    path = Path(os.path.abspath(file))
    present = sys.modules.get(name)
    if (
        name in sys.stdlib_module_names
        or name in ("portico", "modal")
        or (present is not None and getattr(present, "__file__", None) != str(path))
    ):
        raise InvalidError(
            f"{file.name} has the name of another module, {name!r}, and would hide it; rename the script"
        )
    _put_first(str(path.parent))
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        sys.modules.pop(name, None)
        raise
    return module


def _load_module(name: str) -> ModuleType:
    _put_first(os.getcwd())
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise
        raise InvalidError(
            f"there is no file and no module {name}; give the path of a script, or run from the folder that has the "
            "package"
        ) from None


def _put_first(folder: str) -> None:
    if sys.path[:1] != [folder]:
        sys.path.insert(0, folder)
