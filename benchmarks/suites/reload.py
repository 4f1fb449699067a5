"""Time from the save of a file to the first answer of its new code."""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.home import APPS, Home
from benchmarks.http import get
from benchmarks.model import Cell, Column, Contender, MeasurementError, Plan, Sample, Suite, Target
from benchmarks.suites.serve import served_url
from benchmarks.uvicorn import uvicorn_on_port

GROUP = "edits of one file"
BASELINE, PORTICO = "uvicorn --reload", "portico serve"
P50 = "p50"
POLL = 0.005  # seconds between two requests
RELOAD_TIMEOUT = 30.0  # seconds


class Edited:
    """A script that is served and edited. Each measurement is one edit."""

    def __init__(self, script: Path, pause: float) -> None:
        self._script = script
        self._pause = pause
        self._version = 0
        self.url = ""

    def measure(self) -> Sample:
        """Save the next version and ask until it answers; requests that fail meanwhile are counted."""
        time.sleep(self._pause)
        self._version += 1
        source = re.sub(
            r"^VERSION = \d+$",
            f"VERSION = {self._version}",
            self._script.read_text("utf-8"),
            flags=re.MULTILINE,
        )
        began = time.perf_counter()
        self._script.write_text(source, "utf-8")
        failed = 0
        while (answered := self._ask()) != self._version:
            failed += answered is None
            if time.perf_counter() - began > RELOAD_TIMEOUT:
                raise MeasurementError(f"version {self._version} is never served, but {answered}")
            time.sleep(POLL)
        return {"total": 1000 * (time.perf_counter() - began), "failed": failed}

    def _ask(self) -> int | None:
        """The version that answers, None where the request failed."""
        try:
            answer = get(self.url)
        except OSError:
            return None
        return int(answer.body) if answer.status == 200 else None


@contextlib.contextmanager
def set_up(home: Home, plan: Plan) -> Iterator[list[Contender]]:
    """``portico serve`` and ``uvicorn --reload``, each following a script in a folder of its own."""
    plain = Edited(_copied("reload_plain.py", home.folder / "plain"), plan.pause)
    served = Edited(_copied("reload_app.py", home.folder / "served"), plan.pause)
    _copied("recipe.py", home.folder / "served")
    following = (
        "--app-dir",
        str(home.folder / "plain"),
        "--reload",
        "--reload-dir",
        str(home.folder / "plain"),
        "reload_plain:app",
    )
    with (
        uvicorn_on_port(home, "uvicorn", following) as plain.url,
        home.serve(home.folder / "served" / "reload_app.py", "serve") as process,
    ):
        served.url = process.wait_for(lambda: served_url(process.output), "the URL")
        yield [
            Contender(GROUP, BASELINE, plain.measure),
            Contender(GROUP, PORTICO, served.measure),
        ]


def _copied(name: str, folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    copy = folder / name
    copy.write_text((APPS / name).read_text("utf-8"), "utf-8")
    return copy


SUITE = Suite(
    name="reload",
    title="Live reload: save to the first answer of the new code",
    columns=(
        Column(P50, "total", "ms"),
        Column("p95", "total", "ms", 0.95),
        Column("failed requests", "failed", "", 1.0),
    ),
    targets=(
        Target(
            "Save to new answer, p50: at most 500 ms",
            Cell(GROUP, PORTICO, P50),
            "at most",
            plus=500.0,
        ),
    ),
    full=Plan(rounds=20, pause=0.5),
    quick=Plan(rounds=2, pause=0.1),
    set_up=set_up,
)
