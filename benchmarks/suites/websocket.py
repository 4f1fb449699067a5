"""Messages that come back from a WebSocket, and connections, a second."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from functools import partial

from benchmarks.clients import sample
from benchmarks.home import Home
from benchmarks.model import Cell, Column, Contender, Plan, Suite, Target
from benchmarks.servers import DIRECT, EVERY, PORTICO, missing, servers
from benchmarks.uvicorn import ECHO

SIZES = {16: "16 bytes", 1024: "1 KiB", 65536: "64 KiB"}
CONNECTIONS = (1, 64)
OPENING = 16  # connections that are being opened or closed at a time
OPENED = f"connections opened and closed, {OPENING} at a time"
RATE = "per second"


@contextlib.contextmanager
def set_up(home: Home, plan: Plan) -> Iterator[list[Contender]]:
    """Every server with the same echo."""
    loads: dict[str, tuple[object, ...]] = {
        group(size, connections): ("echo", connections, size)
        for size in SIZES
        for connections in CONNECTIONS
    }
    loads[OPENED] = ("open", OPENING)
    with servers(home, {"echoed": ECHO}, "echo_app.py", traffic="websockets") as up:
        yield [
            Contender(
                name,
                server,
                partial(
                    sample, "websocket", what, up.url(server, "echoed"), *details, plan.seconds
                ),
                unavailable=missing(server),
            )
            for name, (what, *details) in loads.items()
            for server in EVERY
        ]


def group(size: int, connections: int) -> str:
    """The name of a group of rows."""
    return f"echo of {SIZES[size]}, {connections} connection{'s' if connections > 1 else ''}"


SUITE = Suite(
    name="websocket",
    title="WebSockets: messages that come back, and connections (own client)",
    columns=(
        Column(RATE, "rate", "/s"),
        Column("p50", "p50", "µs"),
        Column("p99", "p99", "µs"),
    ),
    targets=tuple(
        Target(
            f"{group(size, connections)}: at least 0.8 × direct uvicorn",
            Cell(group(size, connections), PORTICO, RATE),
            "at least",
            Cell(group(size, connections), DIRECT, RATE),
            factor=0.8,
        )
        for size in SIZES
        for connections in CONNECTIONS
    ),
    full=Plan(rounds=3, seconds=2),
    quick=Plan(rounds=1, seconds=0.5),
    set_up=set_up,
    on_request=True,
)
