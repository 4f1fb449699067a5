"""What ``import portico`` brings along, and the alias ``modal``."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = {
    "asyncio",
    "cloudpickle",
    "fastapi",
    "httpx",
    "pydantic",
    "rich",
    "socket",
    "sqlalchemy",
    "ssl",
    "starlette",
    "subprocess",
    "tomllib",
    "typer",
    "uvicorn",
    "uvloop",
    "watchfiles",
}
ROOMS = {"cli", "control", "engines", "gateway", "images", "pools", "runner", "sandboxes", "server"}


def python(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_importing_the_sdk_loads_no_server_and_nothing_heavy():
    loaded = set(python("import portico, sys; print(*sys.modules)").split())
    assert "portico.app" in loaded
    assert not loaded & HEAVY
    assert not {name for name in loaded if name.partition("portico.")[2].split(".")[0] in ROOMS}
    assert "portico.client" not in loaded


def test_declaring_loads_nothing_heavy_either():
    code = """
import portico, sys
app = portico.App("a", image=portico.Image.debian_slim().pip_install("x"))
@app.function()
@portico.asgi_app()
def f(): ...
print(*sys.modules)
"""
    assert not set(python(code).split()) & HEAVY


def test_the_alias_has_the_same_objects_in_every_spelling():
    python(
        """
from portico import modal_alias
modal_alias.install()
modal_alias.install()
import modal, portico, sys
import modal.exception, modal.functions, modal.app, modal.image, modal.secret, modal.cls
from modal.exception import InvalidError
from modal import App, exception
assert modal is portico
assert InvalidError is portico.exception.InvalidError is exception.InvalidError
assert App is portico.App
assert sys.modules["modal.app"] is sys.modules["portico.app"]
assert portico.app.__spec__.name == "portico.app" and portico.__spec__.name == "portico"
assert portico.__name__ == "portico"
assert sum(type(f).__name__ == "AliasFinder" for f in sys.meta_path) == 1
import importlib.util
assert importlib.util.find_spec("modal.nothing") is None
try:
    import modal.nothing
except ModuleNotFoundError as error:
    assert error.name == "modal.nothing", error.name
else:
    raise AssertionError
"""
    )


def test_the_alias_wins_over_an_installed_modal(tmp_path):
    (tmp_path / "modal.py").write_text("raise SystemExit('the other one')")
    python(
        f"""
import sys
sys.path.insert(0, {str(tmp_path)!r})
from portico import modal_alias
modal_alias.install()
import modal, portico
assert modal is portico
"""
    )


def test_without_install_there_is_no_alias():
    assert python("import portico, sys; print('modal' in sys.modules)") == "False\n"


@pytest.mark.parametrize(
    "name", ["App", "Cls", "Function", "FunctionCall", "Image", "Secret", "Retries"]
)
def test_public_names_are_documented(name):
    import portico

    public = getattr(portico, name)
    assert public.__doc__
    for attribute, value in vars(public).items():
        if not attribute.startswith("_") and (callable(value) or hasattr(value, "__get__")):
            assert getattr(value, "__doc__", None), f"{name}.{attribute}"
