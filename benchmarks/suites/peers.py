"""Requests a second of the same small function, served by Portico and by others that serve Python functions."""

from __future__ import annotations

import contextlib
import itertools
import sys
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from benchmarks import wrk
from benchmarks.home import Home
from benchmarks.model import Cell, Column, Contender, MeasurementError, Plan, Sample, Suite, Target
from benchmarks.peers import PEERS, Peer, install
from benchmarks.processes import background, end_marked, free_port
from benchmarks.servers import DIRECT, PORTICO, servers
from benchmarks.suites.throughput import APPS, CONNECTIONS, SCRIPT
from benchmarks.uvicorn import answered

GROUP = f"{CONNECTIONS} connections"
RATE = "requests/s"
OURS = {
    "direct uvicorn, FastAPI": (DIRECT, "fastapi"),
    "Portico, FastAPI": (PORTICO, "fastapi"),
    "Portico, raw ASGI": (PORTICO, "raw"),
}
JUDGED = "Portico, FastAPI"
STARTED = 120.0  # seconds; Ray takes its time
WARMING = 2.0  # seconds of load before the one that is measured
MARK = "PORTICO_BENCHMARK_PEER"
LENGTH = 40  # characters of a reason, which is a cell


class Peers:
    """Starts each contender for its measurement only: some keep a processor busy where nobody asks them anything."""

    def __init__(self, home: Home) -> None:
        self._home = home
        self._numbers = itertools.count()

    def installed(self, peer: Peer) -> tuple[Path, str]:
        """The programs of a peer that has been installed and has answered once, and why it has not."""
        programs = Path()
        try:
            _say(f"installing {peer.name}")
            programs = install(peer, self._home)
            _say(f"starting {peer.name}")
            with self.running(peer, programs):
                return programs, ""
        except MeasurementError as error:
            _say(str(error))
            return programs, shortened(str(error))

    def ask(self, peer: Peer, programs: Path, plan: Plan) -> Sample:
        """A load on a peer that is alone; no number where it fails, which says nothing about the others."""
        try:
            with self.running(peer, programs) as url:
                return _load(url, plan, peer.body)
        except MeasurementError as error:
            _say(f"{peer.name} failed: {error}")
            return {}

    def ask_other(self, server: str, app: str, plan: Plan) -> Sample:
        """A load on Portico, or on uvicorn alone."""
        with servers(self._next_home(), APPS, SCRIPT, only=(server,)) as up:
            return _load(up.url(server, app), plan)

    @contextlib.contextmanager
    def running(self, peer: Peer, programs: Path) -> Iterator[str]:
        """Where a peer answers, once it does. Nothing that it has started runs on afterwards."""
        home, port, mark = self._next_home(), free_port(), uuid.uuid4().hex
        # In place of the user's home, for what they leave there; short, for the paths of sockets.
        folder = self._home.folder / mark[:4]
        folder.mkdir()
        environ = {**home.environ, **peer.environ, "HOME": str(folder), MARK: mark}
        command = peer.command(programs, folder, port)
        url = f"http://127.0.0.1:{port}{peer.path}"
        try:
            with background(
                command, folder=home.folder, env=environ, ended_by=peer.ended_by
            ) as process:
                process.wait_for(partial(answered_as_asked, url, peer.body), "an answer", STARTED)
                yield url
        finally:
            end_marked(MARK, mark)

    def _next_home(self) -> Home:
        home = replace(self._home, folder=self._home.folder / f"run-{next(self._numbers)}")
        home.folder.mkdir()
        return home


@contextlib.contextmanager
def set_up(home: Home, plan: Plan) -> Iterator[list[Contender]]:
    """Every peer installed, and started once; nothing runs between measurements."""
    peers = Peers(home)
    lacking = wrk.missing()
    contenders = [
        Contender(GROUP, name, partial(peers.ask_other, server, app, plan), unavailable=lacking)
        for name, (server, app) in OURS.items()
    ]
    for peer in PEERS:
        programs, reason = (Path(), lacking) if lacking else peers.installed(peer)
        measure = partial(peers.ask, peer, programs, plan)
        contenders.append(Contender(GROUP, peer.name, measure, unavailable=reason))
    yield contenders


def answered_as_asked(url: str, body: str) -> bool | None:
    """Whether a URL answers with success, if it does."""
    answer = answered(url, body)
    return True if answer is not None and answer.status == 200 else None


def shortened(reason: str) -> str:
    """A reason as a cell of the table has room for it; the whole has been said."""
    lines = [line.strip() for line in reason.splitlines() if line.strip()]
    last = lines[-1]
    return last if len(last) <= LENGTH else f"{last[: LENGTH - 1]}…"


def _load(url: str, plan: Plan, body: str = "") -> Sample:
    wrk.load(url, connections=CONNECTIONS, seconds=WARMING, body=body)
    return wrk.load(url, connections=CONNECTIONS, seconds=plan.seconds, body=body)


def _say(step: str) -> None:
    print(f"peers: {step}", file=sys.stderr, flush=True)


def _targets() -> Sequence[Target]:
    return [
        Target(
            f"{JUDGED}: at least 8 × {peer.name}",
            Cell(GROUP, JUDGED, RATE),
            "at least",
            Cell(GROUP, peer.name, RATE),
            factor=8.0,
        )
        for peer in PEERS
    ]


SUITE = Suite(
    name="peers",
    title="Peers: one small function, one worker or replica (wrk)",
    columns=(
        Column(RATE, "requests", "/s"),
        Column("p50", "p50", "µs"),
        Column("p99", "p99", "µs"),
    ),
    targets=_targets(),
    full=Plan(rounds=3, seconds=4, warm_up=False),
    quick=Plan(rounds=1, seconds=1, warm_up=False),
    set_up=set_up,
    on_request=True,
)
