"""``portico serve`` on a cached image, from the start of the process to the first answer."""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Iterator
from functools import partial

from benchmarks.home import APPS, Home
from benchmarks.http import get
from benchmarks.imports import import_fastapi
from benchmarks.model import Cell, Column, Contender, MeasurementError, Plan, Sample, Suite, Target

GROUP = "process start"
BASELINE, PORTICO = 'python -c "import fastapi"', "portico serve"
P50 = "p50"
_URL = re.compile(r"http://127\.0\.0\.1:\d+(?=\s)")


@contextlib.contextmanager
def set_up(home: Home, plan: Plan) -> Iterator[list[Contender]]:
    """Nothing runs between measurements."""
    yield [
        Contender(GROUP, BASELINE, partial(import_fastapi, home)),
        Contender(GROUP, PORTICO, partial(_measure, home, plan)),
    ]


def served_url(output: str) -> str | None:
    """The loopback-port URL that ``portico serve`` has printed for its one web function."""
    found = _URL.search(output)
    return found[0] if found else None


def _measure(home: Home, plan: Plan) -> Sample:
    time.sleep(plan.pause)
    began = time.perf_counter()
    with home.serve(APPS / "serve_app.py", "serve") as process:
        url = process.wait_for(lambda: served_url(process.output), "the URL")
        printed = time.perf_counter()
        answer = get(url)
        answered = printed + answer.seconds
    if answer.status != 200:
        raise MeasurementError(f"{url} answered {answer.status}: {answer.body!r}")
    return {"total": 1000 * (answered - began), "printed": 1000 * (printed - began)}


SUITE = Suite(
    name="serve",
    title="`portico serve` on a cached image: process start to first answer",
    columns=(
        Column(P50, "total", "ms"),
        Column("p95", "total", "ms", 0.95),
        Column("URL printed", "printed", "ms"),
    ),
    targets=(
        Target(
            "portico serve to first answer, p50: at most 2.5 × import fastapi",
            Cell(GROUP, PORTICO, P50),
            "at most",
            Cell(GROUP, BASELINE, P50),
            factor=2.5,
        ),
    ),
    full=Plan(rounds=10, pause=0.2),
    quick=Plan(rounds=1),
    set_up=set_up,
)
