"""How well WebSockets are spoken: Autobahn's fuzzing client against an echo server, bare and behind the gateway."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from functools import partial

from benchmarks.autobahn import Fuzzer, python2
from benchmarks.home import Home
from benchmarks.model import Cell, Column, Contender, Plan, Sample, Suite, Target
from benchmarks.servers import DIRECT, PORTICO
from benchmarks.uvicorn import ECHO, uvicorn_on_port

PASSED = "passed"
CLOSED = "1009"
SMALL = "9 messages up to 2 MiB"
LARGE = "9 messages over 2 MiB"
GROUPS: Mapping[str, Sequence[str]] = {
    "1 framing": ("1.*",),
    "2 pings and pongs": ("2.*",),
    "3 reserved bits": ("3.*",),
    "4 opcodes": ("4.*",),
    "5 fragmentation": ("5.*",),
    "6 UTF-8": ("6.*",),
    "7 closing": ("7.*",),
    "10 automatic fragments": ("10.*",),
    SMALL: (
        *("9.1.1", "9.1.2", "9.1.3", "9.2.1", "9.2.2", "9.2.3"),
        *("9.5.*", "9.6.*", "9.7.*", "9.8.*"),
    ),
    LARGE: ("9.1.4", "9.1.5", "9.1.6", "9.2.4", "9.2.5", "9.2.6", "9.3.*", "9.4.*"),
    "12 compression": ("12.*",),
    "13 compression, options": ("13.*",),
}
LONG = tuple(list(GROUPS)[8:])  # not for --quick
FULL, QUICK = Plan(rounds=1, warm_up=False), Plan(rounds=1, warm_up=False)


@contextlib.contextmanager
def set_up(home: Home, plan: Plan) -> Iterator[list[Contender]]:
    """Both servers up, and the fuzzer installed, if there is a Python for it."""
    python = python2()
    with contextlib.ExitStack() as stack:
        urls: dict[str, str] = {}
        fuzzer: Fuzzer | None = None
        if python is not None:
            fuzzer = Fuzzer(python, home)
            urls[DIRECT] = stack.enter_context(uvicorn_on_port(home, "echo", ECHO))
            stack.enter_context(home.server())
            urls[PORTICO] = home.deploy("echo_app.py")["echoed"]
        yield [
            Contender(
                group,
                server,
                partial(_measure, fuzzer, urls.get(server, ""), cases),
                unavailable=_missing(fuzzer, group, plan),
            )
            for group, cases in GROUPS.items()
            for server in (DIRECT, PORTICO)
        ]


def _missing(fuzzer: Fuzzer | None, group: str, plan: Plan) -> str:
    if fuzzer is None:
        return "CPython 2.7 is not installed"
    return "not with --quick" if plan is QUICK and group in LONG else ""


def _measure(fuzzer: Fuzzer | None, url: str, cases: Sequence[str]) -> Sample:
    assert fuzzer is not None
    verdicts = fuzzer.verdicts(url, cases)
    closed = verdicts.pop("1009")
    passed = verdicts["OK"] + verdicts["INFORMATIONAL"]
    return {
        "cases": verdicts.total(),
        "passed": passed,
        "ok": verdicts["OK"],
        "informational": verdicts["INFORMATIONAL"],
        "non-strict": verdicts["NON-STRICT"],
        "failed": verdicts.total() - passed - verdicts["NON-STRICT"],
        "closed": closed,
    }


def _targets() -> Iterator[Target]:
    for group in GROUPS:
        text, column, reference = "every case OK or informational", PASSED, (PORTICO, "cases")
        if group == LARGE:
            text, column = "every case closed with 1009", CLOSED
        elif group.startswith(("12", "13")):
            text, reference = "as many passed as of direct uvicorn", (DIRECT, PASSED)
        cell = Cell(group, PORTICO, column)
        yield Target(f"{group}: {text}", cell, "at least", Cell(group, *reference))


SUITE = Suite(
    name="autobahn",
    title="WebSocket conformance (Autobahn's fuzzing client against an echo server)",
    columns=(
        Column(PASSED, "passed", ""),
        Column("cases", "cases", ""),
        Column("OK", "ok", ""),
        Column("info", "informational", ""),
        Column("non-strict", "non-strict", ""),
        Column("failed", "failed", ""),
        Column(CLOSED, "closed", ""),
    ),
    targets=tuple(_targets()),
    full=FULL,
    quick=QUICK,
    set_up=set_up,
    on_request=True,
)
