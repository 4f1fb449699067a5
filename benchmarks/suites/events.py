"""How long after it was sent a server-sent event arrives."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from functools import partial

from benchmarks.clients import sample
from benchmarks.home import Home
from benchmarks.model import Cell, Column, Contender, Plan, Suite, Target
from benchmarks.servers import EVERY, PORTICO, missing, servers
from benchmarks.suites.streaming import APP, SCRIPT
from benchmarks.uvicorn import STREAMS

PAUSES = {
    1: 5,
    64: 50,
}  # milliseconds from one event of a stream to the next, by the number of streams
P99 = "p99"
LIMIT = 50_000.0  # microseconds


@contextlib.contextmanager
def set_up(home: Home, plan: Plan) -> Iterator[list[Contender]]:
    """Every server with the same app."""
    with servers(home, {APP: STREAMS}, SCRIPT, traffic="streams") as up:
        yield [
            Contender(
                group(streams),
                server,
                partial(
                    sample,
                    *("stream", "events", up.url(server, APP), streams),
                    *(round(1000 * plan.seconds / pause), pause),
                ),
                unavailable=missing(server),
            )
            for streams, pause in PAUSES.items()
            for server in EVERY
        ]


def group(streams: int) -> str:
    """The name of a group of rows."""
    rate = 1000 * streams // PAUSES[streams]
    return f"{streams} stream{'s' if streams > 1 else ''}, {rate:,} events/s"


SUITE = Suite(
    name="events",
    title="Server-sent events: from being sent to arriving (own client)",
    columns=(
        Column("p50", "p50", "µs"),
        Column(P99, "p99", "µs"),
        Column("request to first event", "first", "µs"),
    ),
    targets=tuple(
        Target(
            f"{group(streams)}, p99: at most 50 ms",
            Cell(group(streams), PORTICO, P99),
            "at most",
            plus=LIMIT,
        )
        for streams in PAUSES
    ),
    full=Plan(rounds=3, seconds=4),
    quick=Plan(rounds=1, seconds=0.5),
    set_up=set_up,
    on_request=True,
)
