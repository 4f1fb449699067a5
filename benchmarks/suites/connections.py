"""Memory that a gateway keeps for each connection on which nothing happens."""

from __future__ import annotations

import contextlib
import itertools
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial

from benchmarks import clients, memory
from benchmarks.home import Home
from benchmarks.model import Cell, Column, Contender, MeasurementError, Plan, Sample, Suite, Target
from benchmarks.processes import background, open_files
from benchmarks.servers import HAPROXY, NGINX, PORTICO, missing, servers
from benchmarks.uvicorn import ECHO

APP, SCRIPT = "idle", "idle_app.py"
MANY: Mapping[str, int] = {"requests": 10_000, "websockets": 5_000}
TITLES = {"requests": "10,000 idle keep-alive connections", "websockets": "5,000 idle WebSockets"}
FEW = 500  # with --quick
WARM = 100  # connections before memory is first looked at, for what is allocated once
FILES = 16_384
OPENING = 60.0  # seconds to open them all, of the 75 after which a gateway closes the first
EACH = "memory each"
FULL, QUICK = Plan(rounds=3, pause=1.0, warm_up=False), Plan(rounds=1, pause=0.2, warm_up=False)


@contextlib.contextmanager
def set_up(home: Home, plan: Plan) -> Iterator[list[Contender]]:
    """Nothing runs between measurements: a process that has had connections has their memory still."""
    homes = (
        replace(home, folder=home.folder / f"measurement-{number}") for number in itertools.count()
    )
    limited = open_files(FILES)
    yield [
        Contender(
            TITLES[what],
            server,
            partial(_measure, homes, server, what, plan),
            unavailable=limited or missing(server) or _unreadable(),
        )
        for what in MANY
        for server in (NGINX, HAPROXY, PORTICO)
    ]


def _unreadable() -> str:
    return "" if memory.readable() else "no /proc"


def _measure(homes: Iterator[Home], server: str, what: str, plan: Plan) -> Sample:
    home = next(homes)
    home.folder.mkdir()
    many = FEW if plan is QUICK else MANY[what]
    with servers(home, {APP: ECHO}, SCRIPT, traffic="websockets", only=(server,)) as up:
        url, pid = up.url(server, APP), up.pids[server]
        with _held(home, what, url, WARM):
            pass
        time.sleep(plan.pause)
        before = memory.resident(pid)
        with _held(home, what, url, many):
            time.sleep(plan.pause)
            after = memory.resident(pid)
    return {"each": (after - before) / many / 1024, "connections": many, "total": after / 2**20}


@contextlib.contextmanager
def _held(home: Home, what: str, url: str, many: int) -> Iterator[None]:
    command = clients.command("hold", what, url, many)
    with background(command, folder=home.folder / "held", env=clients.environ()) as process:
        process.wait_for(lambda: process.output.startswith("open") or None, "`open`", OPENING)
        yield
    if (left := process.output.split()[1:]) != [str(many)]:
        raise MeasurementError(f"of {many} connections to {url}, {left} were still open")


SUITE = Suite(
    name="connections",
    title="Idle connections: memory in the gateway (own client)",
    columns=(
        Column(EACH, "each", "KiB"),
        Column("connections", "connections", ""),
        Column("memory with all", "total", "MiB"),
    ),
    targets=tuple(
        Target(
            f"{title}: at most 20 KiB each",
            Cell(title, PORTICO, EACH),
            "at most",
            plus=20.0,
        )
        for title in TITLES.values()
    ),
    full=FULL,
    quick=QUICK,
    set_up=set_up,
    on_request=True,
)
