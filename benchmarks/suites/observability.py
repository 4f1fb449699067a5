"""What it costs the gateway to count requests, and to log them: the same gateway three times, one thing apart."""

from __future__ import annotations

import contextlib
import shutil
import sys
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

from benchmarks import wrk
from benchmarks.home import Home
from benchmarks.model import Cell, Column, Contender, Plan, Suite, Target
from benchmarks.processes import Background, background, processor_time
from benchmarks.uvicorn import RAW, uvicorn_on_port

NOTHING, COUNTED, LOGGED = "nothing counted", "counted (metrics)", "counted and logged"
CONNECTIONS = 64
GROUP = f"raw ASGI behind the gateway alone, {CONNECTIONS} connections"
CPU, RATE = "processor time a request", "requests/s"
CHECKOUT = Path(__file__).parents[2]


@contextlib.contextmanager
def set_up(home: Home, plan: Plan) -> Iterator[list[Contender]]:
    """One server, and three gateways before it; only one of them has work at a time."""
    with contextlib.ExitStack() as stack:
        gateways = _start(home, stack) if not _missing() else {}
        yield [
            Contender(GROUP, name, partial(_measure, gateways.get(name), plan), _missing())
            for name in (NOTHING, COUNTED, LOGGED)
        ]


def _missing() -> str:
    if shutil.which("wrk") is None:
        return "wrk is not installed"
    return "" if Path("/proc/self/stat").exists() else "reads processor time from /proc"


def _start(home: Home, stack: contextlib.ExitStack) -> dict[str, tuple[Background, str]]:
    url = stack.enter_context(uvicorn_on_port(home, "app", RAW))
    books = {NOTHING: "none", COUNTED: "counts", LOGGED: str(home.folder / "access.log")}
    environ = {**home.environ, "PYTHONPATH": str(CHECKOUT)}
    gateways = {}
    for number, (name, book) in enumerate(books.items()):
        port = url.rpartition(":")[2]
        command = [sys.executable, "-P", "-m", "benchmarks.fronted", port, "--book", book]
        folder = home.folder / f"gateway-{number}"
        process = stack.enter_context(background(command, folder=folder, env=environ))
        gateways[name] = process, process.wait_for(partial(_url, process), "its URL")
    return gateways


def _url(process: Background) -> str | None:
    return process.output.strip() or None


def _measure(gateway: tuple[Background, str] | None, plan: Plan) -> Mapping[str, float]:
    assert gateway is not None
    process, url = gateway
    before = processor_time(process.pid)
    load = wrk.load(url, connections=CONNECTIONS, seconds=plan.seconds)
    used = processor_time(process.pid) - before
    return {**load, "cpu": used / (load["requests"] * plan.seconds) * 1e6}


SUITE = Suite(
    name="observability",
    title="What metrics and the access log cost the gateway (wrk)",
    columns=(Column(CPU, "cpu", "µs"), Column(RATE, "requests", "/s"), Column("p50", "p50", "µs")),
    targets=(
        Target(
            "Counting a request: at most 1.5 µs of processor time",
            Cell(GROUP, COUNTED, CPU),
            "at most",
            Cell(GROUP, NOTHING, CPU),
            plus=1.5,
        ),
        Target(
            "Counting and logging a request: at most 10 µs of processor time",
            Cell(GROUP, LOGGED, CPU),
            "at most",
            Cell(GROUP, NOTHING, CPU),
            plus=10.0,
        ),
    ),
    full=Plan(rounds=6, seconds=4),
    quick=Plan(rounds=1, seconds=1),
    set_up=set_up,
)
