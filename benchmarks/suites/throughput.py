"""Requests a second of running web functions, against uvicorn alone and behind nginx and HAProxy."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from functools import partial

from benchmarks import wrk
from benchmarks.home import Home
from benchmarks.model import Cell, Column, Contender, Plan, Suite, Target
from benchmarks.servers import DIRECT, EVERY, NGINX, PORTICO, missing, servers
from benchmarks.uvicorn import FASTAPI, RAW

APPS: Mapping[str, Sequence[str]] = {"raw": RAW, "fastapi": FASTAPI}
TITLES = {"raw": "raw ASGI", "fastapi": "FastAPI"}
SCRIPT = "throughput_app.py"
CONNECTIONS = 64
RATE = "requests/s"


@contextlib.contextmanager
def set_up(home: Home, plan: Plan) -> Iterator[list[Contender]]:
    """Every server with every app."""
    with servers(home, APPS, SCRIPT, only=() if wrk.missing() else EVERY) as up:
        yield [
            Contender(
                group(app),
                server,
                partial(_measure, up.url(server, app), plan),
                unavailable=wrk.missing() or missing(server),
            )
            for app in APPS
            for server in EVERY
        ]


def group(app: str) -> str:
    """The name of a group of rows."""
    return f"{TITLES[app]}, {CONNECTIONS} connections"


def _measure(url: str, plan: Plan) -> Mapping[str, float]:
    return wrk.load(url, connections=CONNECTIONS, seconds=plan.seconds)


SUITE = Suite(
    name="throughput",
    title="Throughput of running web functions (wrk)",
    columns=(
        Column(RATE, "requests", "/s"),
        Column("p50", "p50", "µs"),
        Column("p99", "p99", "µs"),
    ),
    targets=(
        Target(
            "FastAPI through Portico: at least 1.0 × direct uvicorn",
            Cell(group("fastapi"), PORTICO, RATE),
            "at least",
            Cell(group("fastapi"), DIRECT, RATE),
        ),
        Target(
            "Raw ASGI through Portico: at least 0.85 × nginx → uvicorn",
            Cell(group("raw"), PORTICO, RATE),
            "at least",
            Cell(group("raw"), NGINX, RATE),
            factor=0.85,
        ),
    ),
    full=Plan(rounds=4, seconds=4),
    quick=Plan(rounds=1, seconds=1),
    set_up=set_up,
)
