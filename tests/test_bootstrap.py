"""The set-up script where something is missing, half-made or in the way."""

from __future__ import annotations

import ast
import os
import shutil
import socket
import subprocess
import sys
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FILES = ("bootstrap.py", "constraints.txt", "pyproject.toml")


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """What the script needs of a checkout, in a folder with a space in its name."""
    folder = tmp_path / "a checkout"
    folder.mkdir()
    for name in FILES:
        shutil.copy(ROOT / name, folder)
    return folder


def bootstrap(
    checkout: Path, *arguments: str, **variables: str
) -> subprocess.CompletedProcess[str]:
    """Run the script of `checkout` from another folder."""
    return subprocess.run(
        [sys.executable, checkout / "bootstrap.py", *arguments],
        cwd=checkout.parent,
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        timeout=120,
    )


def works(checkout: Path) -> bool:
    """What the script thinks of the environment in `checkout`."""
    program = "import bootstrap; raise SystemExit(not bootstrap.venv_works())"
    return subprocess.run([sys.executable, "-c", program], cwd=checkout).returncode == 0


@pytest.fixture
def dead_index() -> str:
    """URL of a package index that is not there."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{unused.getsockname()[1]}/simple"


def test_any_python_3_can_read_the_script() -> None:
    ast.parse((ROOT / "bootstrap.py").read_text("utf-8"), feature_version=(3, 7))


def test_a_wrong_command_is_told_the_right_ones(checkout: Path) -> None:
    for arguments in ([], ["fly"], ["install", "more"]):
        done = bootstrap(checkout, *arguments)
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr.startswith("usage: python3 bootstrap.py serve")
    assert not (checkout / ".venv").exists()


def test_a_failed_download_is_explained_and_leaves_no_mark_of_success(
    checkout: Path, dead_index: str
) -> None:
    variables = {"PIP_INDEX_URL": dead_index, "PIP_RETRIES": "0", "PIP_CONFIG_FILE": os.devnull}
    variables |= {"PIP_FIND_LINKS": "", "PIP_EXTRA_INDEX_URL": "", "PIP_NO_CACHE_DIR": "1"}
    done = bootstrap(checkout, "serve", **variables)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert done.stderr.splitlines()[-1].startswith("Set-up needs the network")
    assert works(checkout)
    assert not (checkout / ".venv" / "bootstrapped").exists()


def test_an_environment_that_is_missing_or_half_made_or_moved_does_not_count(
    checkout: Path,
) -> None:
    folder = checkout / ".venv"
    assert not works(checkout)
    venv.create(folder, symlinks=True)
    assert not works(checkout)
    venv.create(folder, symlinks=True, with_pip=True)
    assert works(checkout)
    moved = checkout.with_name("moved")
    checkout.rename(moved)
    assert not works(moved)
    moved.rename(checkout)
    (folder / "bin" / "python").unlink()
    (folder / "bin" / "python").symlink_to("python-that-was-removed")
    assert not works(checkout)
