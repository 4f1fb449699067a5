"""Finding the Python of a recipe on this machine. Nothing is ever downloaded."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from portico.images.base import BuildError
from portico.images.recipe import OLDEST_PYTHON


class Interpreter(msgspec.Struct, frozen=True):
    """One line of ``uv python list --output-format json``."""

    version: str
    path: str
    implementation: str
    variant: str = "default"

    @property
    def release(self) -> tuple[int, ...]:
        """The version's numbers; empty for a pre-release, which only an exact request may take."""
        parts = self.version.split(".")
        return tuple(map(int, parts)) if all(part.isdigit() for part in parts) else ()


def own_interpreter() -> str:
    """The interpreter this server runs on, beneath its virtual environment if it is in one."""
    return getattr(sys, "_base_executable", None) or sys.executable


def is_own(version: str) -> bool:
    """Whether this server's own interpreter is what `version` (``"3.12"`` or ``"3.12.4"``) asks for."""
    wanted = tuple(map(int, version.split(".")))
    return sys.version_info[: len(wanted)] == wanted


def search_path(environ: Mapping[str, str]) -> str:
    """PATH for a search that sees pyenv's versions themselves in place of its shims.

    A shim of a version that is not active fails when run, and with it uv's whole search.
    """
    root = Path(environ.get("PYENV_ROOT") or Path(environ.get("HOME", "/"), ".pyenv"))
    entries = [entry for entry in environ.get("PATH", "").split(os.pathsep) if entry]
    kept = [
        entry for entry in entries if Path(entry).name != "shims" or root not in Path(entry).parents
    ]
    return os.pathsep.join([*kept, *(str(p) for p in sorted(root.glob("versions/*/bin")))])


def choose(version: str, found: Sequence[Interpreter]) -> str:
    """Path of the newest CPython among `found` that is `version`. Raises `BuildError` that says what there is."""
    usable = [i for i in found if (i.implementation, i.variant) == ("cpython", "default")]
    wanted = tuple(map(int, version.split(".")))
    matching = [i for i in usable if i.release[: len(wanted)] == wanted]
    if matching:
        return max(matching, key=lambda i: i.release).path
    numbered = sorted({i.release for i in usable if i.release >= OLDEST_PYTHON})
    here = ", ".join(".".join(map(str, release)) for release in numbered) or "none"
    raise BuildError(
        f"There is no Python {version} on this machine (found of 3.10 and later: {here}). Install it (for example:"
        f" uv python install {version}), or name one of these in Image.debian_slim(python_version=…)."
    )
