"""`portico-modal` installed beside Portico in an environment of its own, and used."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import uv
from driver import DEADLINE, Portico, get

REPOSITORY = Path(__file__).parents[2]


def run(*arguments: str | Path, env: dict[str, str], cwd: Path) -> str:
    done = subprocess.run(
        [str(argument) for argument in arguments],
        capture_output=True,
        text=True,
        env=env,
        cwd=cwd,
        timeout=2 * DEADLINE,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture
def installed(server: Portico, tmp_path: Path) -> Path:
    """The `bin` folder of an environment with both distributions and their dependencies."""
    tool, venv = uv.find_uv_bin(), tmp_path / "venv"
    shim = REPOSITORY / "packaging" / "portico-modal"
    run(tool, "venv", "--quiet", "--python", sys.executable, venv, env=server.env, cwd=tmp_path)
    install = (tool, "pip", "install", "--quiet", "--python", venv, REPOSITORY, shim)
    run(*install, env=server.env, cwd=tmp_path)
    return venv / "bin"


def test_the_module_and_the_command_modal_are_portico(installed: Path, server: Portico) -> None:
    env, cwd = server.env, server.work
    code = "import modal, portico; assert modal is portico; print(modal.__file__)"
    assert str(installed.parent) in run(installed / "python", "-c", code, env=env, cwd=cwd)
    assert "serve" in run(installed / "modal", "--help", env=env, cwd=cwd)
    script = server.script(
        "shimmed.py",
        """
        import modal
        from modal.exception import InvalidError

        app = modal.App("shimmed", image=IMAGE)

        @app.function()
        @modal.fastapi_endpoint()
        def who():
            return modal.__name__, issubclass(InvalidError, modal.exception.Error)
        """,
    )
    deployed = json.loads(run(installed / "modal", "deploy", script, "--json", env=env, cwd=cwd))
    assert get(deployed["functions"][0]["urls"][1]).json() == ["portico", True]
