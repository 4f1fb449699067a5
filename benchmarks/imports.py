"""The yardstick of everything that starts: a bare ``import fastapi``."""

from __future__ import annotations

from pathlib import Path

from benchmarks.home import Home
from benchmarks.model import Sample
from benchmarks.processes import run_time


def import_fastapi(home: Home) -> Sample:
    """Milliseconds of ``python -c "import fastapi"`` in the image's environment, from bytecode."""
    command: list[str | Path] = [home.python, "-c", "import fastapi"]
    return {"total": 1000 * run_time(command, env=home.environ, cwd=home.folder)}
