"""The distribution `portico-modal`, built and installed for real."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
SHIM = REPOSITORY / "packaging" / "portico-modal"


def run(*command: str | Path, **env: str) -> str:
    done = subprocess.run(
        [str(part) for part in command],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, **env},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment with wheels of both; their dependencies are those of this one."""
    import uv

    folder = tmp_path_factory.mktemp("shim")
    tool = uv.find_uv_bin()
    wheels = folder / "wheels"
    for project in (REPOSITORY, SHIM):
        run(tool, "build", "--wheel", "--out-dir", wheels, project)
    run(tool, "venv", "--python", sys.executable, folder / "venv")
    built = sorted(wheels.glob("*.whl"))
    run(tool, "pip", "install", "--no-deps", "--python", folder / "venv", *built)
    return folder


def dependencies() -> str:
    import msgspec

    return str(Path(msgspec.__file__).parents[1])


def test_modal_is_portico_with_its_submodules(environment):
    python = environment / "venv" / "bin" / "python"
    code = """
import modal.exception, modal.functions
import modal, portico, sys
from modal.exception import InvalidError
assert modal is portico, modal
assert InvalidError is portico.exception.InvalidError
assert modal.App is portico.App
print(portico.__file__)
"""
    # Behind the environment's own site-packages, so that the installed wheels win.
    where = run(python, "-c", f"import sys; sys.path.append({dependencies()!r})\n{code}")
    assert where.startswith(str(environment))


def test_the_command_modal_is_the_command_portico(environment):
    command = environment / "venv" / "bin" / "modal"
    usage = run(command, "--help", PYTHONPATH=dependencies())
    assert "serve" in usage


def test_the_wheel_has_one_module_and_needs_portico(environment):
    (wheel,) = (environment / "wheels").glob("portico_modal-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        (metadata,) = [name for name in names if name.endswith("METADATA")]
        assert "Requires-Dist: portico" in archive.read(metadata).decode()
    assert [name for name in names if name.endswith(".py")] == ["modal/__init__.py"]
