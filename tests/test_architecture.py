"""The import arrows of DESIGN.md, the size of modules, and the oldest Python that containers run."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import pytest

PACKAGE = Path(__file__).parent.parent / "src" / "portico"

SDK = "SDK"  # the top-level modules
BELOW_SERVER = {
    *("control", "gateway", "pools", "engines", "sandboxes", "images", "runner", "dashboard"),
}

# DESIGN.md's table, row by row. Any room may import `wire` besides: its records are what rooms exchange.
ALLOWED: dict[str, set[str]] = {
    SDK: {"client"},
    "wire": set(),
    "client": set(),
    "cli": {SDK, "client", "server"},
    "server": BELOW_SERVER,
    "control": {"pools", "images"},
    "gateway": {"pools"},
    "pools": {"engines"},
    "engines": {"sandboxes"},
    "sandboxes": set(),
    "images": set(),
    "runner": {SDK},
    "dashboard": {"control"},
}

# The errors that users catch are the client's to raise; the module imports nothing of Portico.
ERRORS = "portico.exception"
MAY_RAISE_ERRORS = {"client"}

IN_CONTAINERS = {SDK, "wire", "client", "runner"}
OLDEST_IN_CONTAINERS = (3, 10)
LONGEST_MODULE = 400

MODULES = sorted(path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.py"))


def room_of_file(path: str) -> str:
    """The room of a module by its path below ``src/portico``."""
    first, *rest = PurePosixPath(path).parts
    if rest:
        return first
    return "cli" if first == "__main__.py" else SDK


def room_of_module(name: str) -> str:
    """The room of a dotted name that begins with ``portico``."""
    first = [*name.split("."), ""][1]
    if first == "__main__":
        return "cli"
    return first if first in ALLOWED and first != SDK else SDK


def imported(tree: ast.AST, path: str) -> Iterator[tuple[int, str]]:
    """Line and absolute name of every import of Portico's own in a module, wherever in it the import stands."""
    package = ("portico", *PurePosixPath(path).parts[:-1])
    for node in ast.walk(tree):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            source = ".".join([*base, *([node.module] if node.module else [])])
            names = [f"{source}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Call):
            names = _named_in_call(node)
        for name in names:
            if name.split(".")[0] == "portico":
                yield getattr(node, "lineno", 0), name


def _named_in_call(call: ast.Call) -> list[str]:
    called = (
        call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    )
    if called not in ("import_module", "__import__") or not call.args:
        return []
    name = call.args[0]
    return [name.value] if isinstance(name, ast.Constant) and isinstance(name.value, str) else []


def against_the_arrows(path: str, source: str) -> list[str]:
    """The imports of a module that no arrow allows."""
    room = room_of_file(path)
    if room not in ALLOWED:
        return [f"{path}: {room}/ is no room of DESIGN.md"]
    allowed = ALLOWED[room] | {room, "wire"}
    return [
        f"{path}:{line}: {room} imports {name} ({room_of_module(name)})"
        for line, name in imported(ast.parse(source), path)
        if room_of_module(name) not in allowed and not _is_errors(room, name)
    ]


def _is_errors(room: str, name: str) -> bool:
    return room in MAY_RAISE_ERRORS and f"{name}.".startswith(f"{ERRORS}.")


def too_new_for_containers(path: str, source: str) -> str | None:
    """Why the oldest Python of containers cannot compile a module that they import."""
    if room_of_file(path) not in IN_CONTAINERS:
        return None
    try:
        ast.parse(source, feature_version=OLDEST_IN_CONTAINERS)
    except SyntaxError as error:
        return f"{path}:{error.lineno}: {error.msg}"
    return None


@pytest.mark.parametrize("path", MODULES)
def test_imports_follow_the_arrows(path: str) -> None:
    assert against_the_arrows(path, (PACKAGE / path).read_text("utf-8")) == []


@pytest.mark.parametrize("path", MODULES)
def test_modules_are_short(path: str) -> None:
    assert len((PACKAGE / path).read_text("utf-8").splitlines()) <= LONGEST_MODULE


@pytest.mark.parametrize("path", [path for path in MODULES if room_of_file(path) in IN_CONTAINERS])
def test_what_containers_import_compiles_on_their_oldest_python(path: str) -> None:
    assert too_new_for_containers(path, (PACKAGE / path).read_text("utf-8")) is None


def test_the_errors_module_imports_nothing_of_portico() -> None:
    source = (PACKAGE / "exception.py").read_text("utf-8")
    assert list(imported(ast.parse(source), "exception.py")) == []


# ---- the rules see what they are there for


@pytest.mark.parametrize(
    ("path", "source", "room"),
    [
        ("wire/api.py", "import portico", SDK),
        ("wire/api.py", "import os, portico.client.aio as aio", "client"),
        ("gateway/router.py", "from portico.control.runtime import Version", "control"),
        ("gateway/router.py", "from portico import engines", "engines"),
        ("pools/pool.py", "from portico.sandboxes.base import Sandbox", "sandboxes"),
        ("client/aio.py", "from portico import App", SDK),
        ("client/aio.py", "from portico.exceptions import Error", SDK),
        ("app.py", "def f():\n    from portico.server import run", "server"),
        ("app.py", "from portico.__main__ import main", "cli"),
        ("app.py", "from .control import runtime", "control"),
        ("app.py", "from . import control", "control"),
        ("control/store/tables.py", "from ...gateway import router", "gateway"),
        ("control/store/tables.py", "from ... import gateway", "gateway"),
        (
            "runner/loading.py",
            "if TYPE_CHECKING:\n    from portico.images.base import BuildError",
            "images",
        ),
        (
            "images/base.py",
            "import importlib\nimportlib.import_module('portico.control')",
            "control",
        ),
        ("images/base.py", "__import__('portico.cli.main')", "cli"),
        ("engines/ray.py", "try:\n    import portico.images\nexcept ImportError: pass", "images"),
    ],
)
def test_an_import_against_an_arrow_is_seen(path: str, source: str, room: str) -> None:
    (seen,) = against_the_arrows(path, source)
    assert seen.startswith(f"{path}:")
    assert seen.endswith(f"({room})")


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("wire/api.py", "import os\nfrom porticos import app\nfrom . import names"),
        (
            "app.py",
            "import portico.wire.api\nfrom portico.client import connect\nfrom .web import asgi_app",
        ),
        ("__main__.py", "from portico.cli.main import main"),
        (
            "cli/serve.py",
            "import portico\nfrom portico.server import embedded\nfrom portico import client",
        ),
        ("server/compose.py", "from portico import control, gateway, runner, wire"),
        ("control/store/tables.py", "from ..runtime import Version\nfrom portico.wire import api"),
        ("client/aio.py", "from portico import exception\nfrom portico.exception import Error"),
    ],
)
def test_an_import_along_an_arrow_is_not(path: str, source: str) -> None:
    assert against_the_arrows(path, source) == []


def test_a_folder_that_is_no_room_is_seen() -> None:
    assert against_the_arrows("helpers/misc.py", "") == [
        "helpers/misc.py: helpers/ is no room of DESIGN.md"
    ]


@pytest.mark.parametrize(
    "source", ["try:\n    f()\nexcept* OSError:\n    pass", "type A = int", "def f[T](x: T): ..."]
)
def test_syntax_too_new_for_containers_is_seen_where_it_matters(source: str) -> None:
    for path in ("app.py", "wire/api.py", "client/aio.py", "runner/zygote.py"):
        assert (too_new_for_containers(path, source) or "").startswith(path)
    assert too_new_for_containers("server/compose.py", source) is None
    assert too_new_for_containers("app.py", "match x:\n    case 1: pass") is None
