"""How long a running web function takes to answer: at one, at many and at very many connections, and on a schedule."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from functools import partial

from benchmarks import wrk
from benchmarks.clients import sample
from benchmarks.home import Home
from benchmarks.model import Cell, Column, Contender, Plan, Sample, Suite, Target
from benchmarks.servers import DIRECT, EVERY, NGINX, PORTICO, Servers, missing, servers
from benchmarks.suites.throughput import APPS, SCRIPT, TITLES

CONNECTIONS = (1, 64, 512)
CAPACITY = (
    64  # the connections at which capacity is measured, and on which requests on a schedule go
)
SHARE = 0.6
P50, P99 = "p50", "p99"


@contextlib.contextmanager
def set_up(home: Home, plan: Plan) -> Iterator[list[Contender]]:
    """Every server with every app."""
    with servers(home, APPS, SCRIPT, only=() if wrk.missing() else EVERY) as up:
        capacity: Capacity = {}
        yield [*_closed(up, plan, capacity), *_open(up, plan, capacity)]


def group(app: str, connections: int) -> str:
    """The name of a group of rows with a load that waits for answers."""
    return f"{TITLES[app]}, {connections} connection{'s' if connections > 1 else ''}"


def scheduled(app: str) -> str:
    """The name of a group of rows with a load that does not."""
    return f"{TITLES[app]}, {SHARE:.0%} of capacity"


Capacity = dict[tuple[str, str], float]
"""Requests a second by app and server, as last measured."""


def _closed(up: Servers, plan: Plan, capacity: Capacity) -> Iterator[Contender]:
    for connections in CONNECTIONS:
        for app in APPS:
            for server in EVERY:
                measure = partial(_ask, up, app, server, connections, plan, capacity)
                yield _row(group(app, connections), server, measure)


def _open(up: Servers, plan: Plan, capacity: Capacity) -> Iterator[Contender]:
    for app in APPS:
        for server in EVERY:
            measure = partial(_send, up, app, server, plan, capacity)
            yield _row(scheduled(app), server, measure)


def _row(group: str, server: str, measure: partial[Sample]) -> Contender:
    return Contender(group, server, measure, unavailable=wrk.missing() or missing(server))


def _ask(
    up: Servers, app: str, server: str, connections: int, plan: Plan, capacity: Capacity
) -> Sample:
    url = up.url(server, app)
    found = wrk.load(url, connections=connections, seconds=plan.seconds)
    if connections == CAPACITY:
        capacity[app, server] = found["requests"]
    return found


def _send(up: Servers, app: str, server: str, plan: Plan, capacity: Capacity) -> Sample:
    return sample("open_loop", up.url(server, app), offered(capacity, app), CAPACITY, plan.seconds)


def offered(capacity: Capacity, app: str) -> float:
    """Requests a second that every server of an app is sent: a share of what the slowest of them can do."""
    return SHARE * min(rate for (of, _), rate in capacity.items() if of == app)


def _targets() -> Iterator[Target]:
    one, many, _ = CONNECTIONS
    for app, title in TITLES.items():
        for reference, allowance in ((DIRECT, 80.0), (NGINX, 30.0)):
            yield Target(
                f"p50 at one connection, {title}: at most {reference} + {allowance:.0f} µs",
                Cell(group(app, one), PORTICO, P50),
                "at most",
                Cell(group(app, one), reference, P50),
                plus=allowance,
            )
    for app, title in TITLES.items():
        yield Target(
            f"p99 at {many} connections, {title}: at most 1.5 × nginx → uvicorn",
            Cell(group(app, many), PORTICO, P99),
            "at most",
            Cell(group(app, many), NGINX, P99),
            factor=1.5,
        )


SUITE = Suite(
    name="latency",
    title="Latency of running web functions (wrk; on a schedule: own client)",
    columns=(
        Column(P50, "p50", "µs"),
        Column(P99, "p99", "µs"),
        Column("requests/s", "requests", "/s"),
        Column("sent late, p99", "late", "µs"),
    ),
    targets=tuple(_targets()),
    full=Plan(rounds=3, seconds=2),
    quick=Plan(rounds=1, seconds=1),
    set_up=set_up,
)
