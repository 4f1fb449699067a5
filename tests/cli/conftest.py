from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from control_standin import TOKEN, StandIn, stand_in_server

Portico = Callable[..., "subprocess.CompletedProcess[str]"]

SCRIPT = """
import portico
print("imported")
app = portico.App("hello")

@app.function()
@portico.fastapi_endpoint()
def square(x: int):
    return x * x

@app.function()
def double(x: int):
    return 2 * x
"""


@pytest.fixture
def server() -> Iterator[StandIn]:
    with stand_in_server() as server:
        yield server


@pytest.fixture
def source() -> str:
    return SCRIPT


@pytest.fixture
def script(tmp_path: Path) -> Path:
    path = tmp_path / "work" / "hello.py"
    path.parent.mkdir()
    path.write_text(SCRIPT)
    return path


@pytest.fixture
def bare_env(tmp_path: Path) -> dict[str, str]:
    """An environment in which no server is configured and none runs."""
    dropped = ("PORTICO_", "XDG_", "NO_COLOR", "FORCE_COLOR", "COLUMNS")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(dropped)}
    return {
        **kept,
        "HOME": str(tmp_path / "home"),
        "PORTICO_CONFIG": str(tmp_path / "config.toml"),
        "PORTICO_STATE_DIR": str(tmp_path / "state"),
    }


@pytest.fixture
def env(bare_env: dict[str, str], server: StandIn) -> dict[str, str]:
    """An environment that names the stand-in server."""
    return {**bare_env, "PORTICO_SERVER_URL": server.url, "PORTICO_TOKEN": TOKEN}


@pytest.fixture
def portico(env: dict[str, str], script: Path) -> Portico:
    return runner(env, script.parent)


@pytest.fixture
def portico_alone(bare_env: dict[str, str], script: Path) -> Portico:
    return runner(bare_env, script.parent)


def runner(env: dict[str, str], folder: Path) -> Portico:
    def run(*arguments: str, stdin: str = "", **more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "portico", *arguments],
            input=stdin,
            capture_output=True,
            text=True,
            env={**env, **more},
            cwd=folder,
            timeout=60,
        )

    return run
