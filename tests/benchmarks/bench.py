"""A suite with hand-made numbers."""

from __future__ import annotations

from benchmarks.machine import Machine
from benchmarks.model import Cell, Column, Plan, Result, Row, Suite, Target

COLUMNS = (
    Column("requests/s", "requests", "/s"),
    Column("p50", "p50", "µs"),
    Column("worst", "p50", "µs", 1.0),
)
MACHINE = Machine(
    date="2026-01-02 03:04 UTC",
    processor="A Processor",
    cores=2,
    memory="8 GiB",
    system="Linux 6.1",
    load=0.25,
    tools={"portico": "0.1.0 (abc)", "wrk": "4.1.0"},
)
DIRECT = Row("app", "direct", {"requests": [900, 1000, 5000], "p50": [100.0, 110.0, 120.0]})
PORTICO = Row("app", "Portico", {"requests": [940, 950, 960], "p50": [180.0, 200.0, 220.0]})
ABSENT = Row("app", "nginx", unavailable="nginx is not installed")


def target(**changes: object) -> Target:
    values: dict[str, object] = {
        "text": "Portico keeps up",
        "cell": Cell("app", "Portico", "requests/s"),
        "relation": "at least",
        "reference": Cell("app", "direct", "requests/s"),
        **changes,
    }
    return Target(**values)  # type: ignore[arg-type]


def result(*targets: Target, name: str = "demo", rows: tuple[Row, ...] = ()) -> Result:
    suite = Suite(
        name=name,
        title="A demonstration",
        columns=COLUMNS,
        targets=targets,
        full=Plan(3),
        quick=Plan(1),
        set_up=None,  # type: ignore[arg-type]
    )
    return Result(suite, Plan(3, seconds=5), rows or (DIRECT, PORTICO, ABSENT), {"fastapi": "0.1"})
