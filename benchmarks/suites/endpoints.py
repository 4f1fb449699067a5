"""What a request pays for the endpoints that it does not ask."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial

from benchmarks import wrk
from benchmarks.home import Home, new_home
from benchmarks.model import Cell, Column, Contender, Plan, Sample, Suite, Target

COUNTS = {"1 endpoint": 1, "1,000 endpoints": 1000}
ONE, MANY = COUNTS
CONNECTIONS = (64, 1)
SCRIPT, FUNCTION = "many_app.py", "endpoint0"
RATE = "requests/s"


@dataclass(frozen=True)
class Deployed:
    """A server and the URL of the endpoint that is asked."""

    pid: int
    url: str


@contextlib.contextmanager
def set_up(home: Home, plan: Plan) -> Iterator[list[Contender]]:
    """A server for each number of endpoints."""
    with contextlib.ExitStack() as stack:
        deployed: dict[str, Deployed] = {}
        if not wrk.missing():
            other = stack.enter_context(new_home())
            for where, (title, count) in zip((home, other), COUNTS.items(), strict=True):
                environ = {**where.environ, "BENCH_ENDPOINTS": str(count)}
                chosen = replace(where, environ=environ)
                process = stack.enter_context(chosen.server())
                deployed[title] = Deployed(process.pid, chosen.deploy(SCRIPT)[FUNCTION])
        yield [
            Contender(
                group(connections),
                title,
                partial(_measure, deployed, title, connections, plan),
                unavailable=wrk.missing(),
            )
            for connections in CONNECTIONS
            for title in COUNTS
        ]


def group(connections: int) -> str:
    """The name of a group of rows."""
    return f"raw ASGI, {connections} connection{'s' if connections > 1 else ''}"


def _measure(deployed: dict[str, Deployed], title: str, connections: int, plan: Plan) -> Sample:
    others = [one for name, one in deployed.items() if name != title]
    # What a server with many endpoints does at rest would slow down the other's row as well.
    for other in others:
        os.kill(other.pid, signal.SIGSTOP)
    try:
        return wrk.load(deployed[title].url, connections=connections, seconds=plan.seconds)
    finally:
        for other in others:
            os.kill(other.pid, signal.SIGCONT)


SUITE = Suite(
    name="endpoints",
    title="Registered endpoints: what they cost a request to one of them (wrk)",
    columns=(
        Column(RATE, "requests", "/s"),
        Column("p50", "p50", "µs"),
        Column("p99", "p99", "µs"),
    ),
    targets=tuple(
        Target(
            f"1,000 endpoints, {group(connections)}: at least 0.97 × one endpoint",
            Cell(group(connections), MANY, RATE),
            "at least",
            Cell(group(connections), ONE, RATE),
            factor=0.97,
        )
        for connections in CONNECTIONS
    ),
    full=Plan(rounds=9, seconds=2),
    quick=Plan(rounds=1, seconds=1),
    set_up=set_up,
    on_request=True,
)
