"""Time to the first byte of a request that finds zero containers, against importing FastAPI."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from functools import partial

from benchmarks.home import Home
from benchmarks.http import get
from benchmarks.imports import import_fastapi
from benchmarks.model import Cell, Column, Contender, MeasurementError, Plan, Sample, Suite, Target
from portico.client import Client
from portico.client.discovery import running_local

APP = "bench-cold-start"
GROUP = "from zero containers"
BASELINE, ENDPOINT = 'python -c "import fastapi"', "fastapi_endpoint"
FUNCTIONS = {ENDPOINT: "endpoint", "asgi_app, FastAPI": "fastapi", "asgi_app, raw": "raw"}
P50 = "p50"
GONE_TIMEOUT = 30.0  # seconds
POLL = 0.01  # seconds


@contextlib.contextmanager
def set_up(home: Home, plan: Plan) -> Iterator[list[Contender]]:
    """A server with the functions deployed and no container running."""
    with home.server():
        urls = home.deploy("cold_start_app.py")
        record = running_local(home.folder / "state")
        if record is None:
            raise MeasurementError("the server is ready and not on record in its state folder")
        with Client(record.url, record.token) as client:
            yield [
                Contender(GROUP, BASELINE, partial(import_fastapi, home)),
                *(
                    Contender(GROUP, name, partial(_measure, client, function, urls, plan))
                    for name, function in FUNCTIONS.items()
                ),
            ]


def _measure(client: Client, function: str, urls: dict[str, str], plan: Plan) -> Sample:
    stop_containers(client)
    time.sleep(plan.pause)
    answer = get(urls[function])
    phases = answer.server_timing
    if answer.status != 200 or not phases:
        raise MeasurementError(f"no cold start: {answer.status} {answer.headers} {answer.body!r}")
    return {"total": 1000 * answer.seconds, **phases}


def stop_containers(client: Client) -> None:
    """Stop what runs and return when it is gone. Raises `MeasurementError`."""
    deadline = time.monotonic() + GONE_TIMEOUT
    asked: set[str] = set()
    while containers := client.containers(APP):
        for container in containers:
            if container.container_id not in asked:
                asked.add(container.container_id)
                client.stop_container(container.container_id)
        if time.monotonic() > deadline:
            raise MeasurementError(f"{len(containers)} containers do not end")
        time.sleep(POLL)


SUITE = Suite(
    name="cold-start",
    title="Cold start: first byte of a request that finds zero containers",
    columns=(
        Column(P50, "total", "ms"),
        Column("p95", "total", "ms", 0.95),
        Column("queue", "queue", "ms"),
        Column("boot", "boot", "ms"),
        Column("import", "import", "ms"),
    ),
    targets=(
        Target(
            "Cold start of a fastapi_endpoint, p50: at most 0.15 × import fastapi",
            Cell(GROUP, ENDPOINT, P50),
            "at most",
            Cell(GROUP, BASELINE, P50),
            factor=0.15,
        ),
    ),
    full=Plan(rounds=40, pause=0.2),
    quick=Plan(rounds=2),
    set_up=set_up,
)
