"""A large body up and down, and what the gateway keeps of it meanwhile."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from functools import partial

from benchmarks import memory
from benchmarks.clients import sample
from benchmarks.home import Home
from benchmarks.model import Cell, Column, Contender, Plan, Sample, Suite, Target
from benchmarks.servers import EVERY, NGINX, PORTICO, Servers, missing, servers
from benchmarks.uvicorn import STREAMS

APP, SCRIPT = "streaming", "streams_app.py"
MIB = 1 << 20
SIZE, SIZE_QUICK = 1 << 30, 64 * MIB
GROUPS = {"upload": "upload of 1 GiB", "download": "download of 1 GiB"}
RATE, GROWTH = "rate", "peak memory growth"
FULL, QUICK = Plan(rounds=3), Plan(rounds=1)


@contextlib.contextmanager
def set_up(home: Home, plan: Plan) -> Iterator[list[Contender]]:
    """Every server with the same app."""
    size = SIZE_QUICK if plan is QUICK else SIZE
    with servers(home, {APP: STREAMS}, SCRIPT, traffic="streams") as up:
        yield [
            Contender(
                GROUPS[what],
                server,
                partial(_measure, up, what, server, size),
                unavailable=missing(server),
            )
            for what in GROUPS
            for server in EVERY
        ]


def _measure(up: Servers, what: str, server: str, size: int) -> Sample:
    url, pid = up.url(server, APP), up.pids.get(server)
    if pid is None or not memory.readable():
        return sample("stream", what, url, size)
    memory.forget_peak(pid)
    before = memory.resident(pid)
    found = sample("stream", what, url, size)
    return {**found, "growth": max(0, memory.peak(pid) - before) / MIB}


def _targets() -> Iterator[Target]:
    for title in GROUPS.values():
        yield Target(
            f"{title[0].upper()}{title[1:]}: at least 0.7 × nginx → uvicorn",
            Cell(title, PORTICO, RATE),
            "at least",
            Cell(title, NGINX, RATE),
            factor=0.7,
        )
    for title in GROUPS.values():
        yield Target(
            f"{title[0].upper()}{title[1:]}: the gateway's memory grows by at most 32 MiB",
            Cell(title, PORTICO, GROWTH),
            "at most",
            plus=32.0,
        )


SUITE = Suite(
    name="streaming",
    title="Streaming: a body of 1 GiB, up and down (own client)",
    columns=(
        Column(RATE, "rate", "MiB/s"),
        Column(GROWTH, "growth", "MiB", 1.0),
    ),
    targets=tuple(_targets()),
    full=FULL,
    quick=QUICK,
    set_up=set_up,
    on_request=True,
)
