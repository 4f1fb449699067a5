"""Which Python a recipe gets."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from portico.images.base import BuildError
from portico.images.interpreters import Interpreter, choose, is_own, own_interpreter, search_path


def found(*versions: str) -> list[Interpreter]:
    return [Interpreter(version, f"/{version}", "cpython") for version in versions]


def test_the_newest_patch_release_of_a_minor_version_is_chosen() -> None:
    assert choose("3.12", found("3.12.9", "3.12.10", "3.13.1", "3.12.1")) == "/3.12.10"


def test_an_exact_version_is_taken_exactly() -> None:
    assert choose("3.12.1", found("3.12.10", "3.12.1")) == "/3.12.1"


def test_pre_releases_other_implementations_and_free_threading_are_passed_over() -> None:
    others = [
        Interpreter("3.14.0", "/pypy", "pypy"),
        Interpreter("3.14.0", "/t", "cpython", "freethreaded"),
    ]
    with pytest.raises(BuildError, match=r"found of 3\.10 and later: 3\.12\.1\)"):
        choose("3.14", [*others, *found("3.14.0rc2", "3.12.1", "3.9.1")])


def test_a_missing_version_is_an_error_that_says_what_there_is_and_what_to_do() -> None:
    with pytest.raises(BuildError) as missing:
        choose("3.14", found("3.12.1", "3.10.4", "3.12.1"))
    for text in ("3.14", "3.10.4, 3.12.1", "uv python install 3.14", "debian_slim(python_version="):
        assert text in missing.value.message


def test_pyenvs_versions_take_the_place_of_its_shims(tmp_path: Path) -> None:
    for version in ("3.12.1", "3.10.4"):
        (tmp_path / "versions" / version / "bin").mkdir(parents=True)
    path = (
        f"/usr/bin:{tmp_path}/plugins/pyenv-virtualenv/shims:{tmp_path}/shims:{tmp_path}/bin:/shims"
    )
    environ = {"PYENV_ROOT": str(tmp_path), "PATH": path}
    versions = [f"{tmp_path}/versions/{version}/bin" for version in ("3.10.4", "3.12.1")]
    assert search_path(environ).split(":") == ["/usr/bin", f"{tmp_path}/bin", "/shims", *versions]


def test_the_servers_own_interpreter_is_the_one_beneath_its_virtual_environment() -> None:
    assert Path(own_interpreter()).exists()
    assert not Path(own_interpreter()).is_relative_to(sys.prefix) or sys.prefix == sys.base_prefix
    major, minor, patch = sys.version_info[:3]
    assert is_own(f"{major}.{minor}")
    assert is_own(f"{major}.{minor}.{patch}")
    assert not is_own(f"{major}.{minor}.{patch + 1}")
    assert not is_own(f"{major}.{minor + 1}")
