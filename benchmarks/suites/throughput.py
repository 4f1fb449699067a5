"""Requests a second and latency of running web functions, against uvicorn alone and behind nginx."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator, Mapping, Sequence
from functools import partial

from benchmarks import wrk
from benchmarks.home import Home
from benchmarks.model import Cell, Column, Contender, Plan, Suite, Target
from benchmarks.nginx import nginx
from benchmarks.uvicorn import FASTAPI, RAW, uvicorn_on_port, uvicorn_on_socket

APPS: Mapping[str, Sequence[str]] = {"raw": RAW, "fastapi": FASTAPI}
TITLES = {"raw": "raw ASGI", "fastapi": "FastAPI"}
CONNECTIONS = (64, 1)
DIRECT, NGINX, PORTICO = "direct uvicorn", "nginx → uvicorn", "Portico"
RATE, P50 = "requests/s", "p50"


@contextlib.contextmanager
def set_up(home: Home, plan: Plan) -> Iterator[list[Contender]]:
    """Every server with every app, all up at once; only one of them has work at a time."""
    with contextlib.ExitStack() as stack:
        urls = _start(home, stack) if shutil.which("wrk") else {}
        yield [
            Contender(
                group(app, connections),
                server,
                partial(_measure, urls.get(server, {}).get(app, ""), connections, plan),
                unavailable=_missing(server),
            )
            for connections in CONNECTIONS
            for app in APPS
            for server in (DIRECT, NGINX, PORTICO)
        ]


def group(app: str, connections: int) -> str:
    """The name of a group of rows."""
    return f"{TITLES[app]}, {connections} connection{'s' if connections > 1 else ''}"


def _start(home: Home, stack: contextlib.ExitStack) -> dict[str, dict[str, str]]:
    enter = stack.enter_context
    direct = {app: enter(uvicorn_on_port(home, f"{app}-tcp", line)) for app, line in APPS.items()}
    enter(home.server())
    urls = {DIRECT: direct, PORTICO: home.deploy("throughput_app.py")}
    if shutil.which("nginx"):
        sockets = {
            app: enter(uvicorn_on_socket(home, f"{app}-unix", line)) for app, line in APPS.items()
        }
        urls[NGINX] = enter(nginx(home, sockets))
    return urls


def _missing(server: str) -> str:
    if shutil.which("wrk") is None:
        return "wrk is not installed"
    if server == NGINX and shutil.which("nginx") is None:
        return "nginx is not installed"
    return ""


def _measure(url: str, connections: int, plan: Plan) -> Mapping[str, float]:
    return wrk.load(url, connections=connections, seconds=plan.seconds)


def _targets() -> Iterator[Target]:
    many, one = CONNECTIONS
    yield Target(
        "FastAPI through Portico: at least 0.95 × direct uvicorn",
        Cell(group("fastapi", many), PORTICO, RATE),
        "at least",
        Cell(group("fastapi", many), DIRECT, RATE),
        factor=0.95,
    )
    yield Target(
        "Raw ASGI through Portico: at least 0.75 × nginx → uvicorn",
        Cell(group("raw", many), PORTICO, RATE),
        "at least",
        Cell(group("raw", many), NGINX, RATE),
        factor=0.75,
    )
    for app, title in TITLES.items():
        yield Target(
            f"p50 at one connection, {title}: at most direct uvicorn + 80 µs",
            Cell(group(app, one), PORTICO, P50),
            "at most",
            Cell(group(app, one), DIRECT, P50),
            plus=80.0,
        )


SUITE = Suite(
    name="throughput",
    title="Throughput and latency of running web functions (wrk)",
    columns=(
        Column(RATE, "requests", "/s"),
        Column(P50, "p50", "µs"),
        Column("p99", "p99", "µs"),
    ),
    targets=tuple(_targets()),
    full=Plan(rounds=5, seconds=5),
    quick=Plan(rounds=1, seconds=1),
    set_up=set_up,
)
