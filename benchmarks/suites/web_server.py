"""``python -m http.server`` directly, behind the gateway, and behind gateway and relay."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

from benchmarks import wrk
from benchmarks.home import Home
from benchmarks.model import Cell, Column, Contender, Plan, Suite, Target
from benchmarks.processes import background, free_port
from benchmarks.uvicorn import answered

PROTOCOLS = {"http10": "HTTP/1.0", "http11": "HTTP/1.1"}
FILES = {"small": 512, "large": 1 << 20}  # bytes
TITLES = {"small": "512 bytes", "large": "1 MiB"}
DIRECT, FRONTED, RELAYED, PORTICO = (
    "http.server",
    "gateway → http.server",
    "gateway → relay → http.server",
    "Portico",
)
CONNECTIONS = 4  # http.server has a backlog of 5: more would measure how long the kernel waits
RATE, P50 = "requests/s", "p50"
CHECKOUT = Path(__file__).parents[2]


@contextlib.contextmanager
def set_up(home: Home, plan: Plan) -> Iterator[list[Contender]]:
    """Every server up at once; only one of them has work at a time."""
    with contextlib.ExitStack() as stack:
        unavailable = wrk.missing()
        urls = {} if unavailable else _start(home, stack)
        yield [
            Contender(
                group(protocol, file),
                server,
                partial(_measure, urls.get((server, protocol), ""), file, plan),
                unavailable=unavailable,
            )
            for protocol in PROTOCOLS
            for file in FILES
            for server in (DIRECT, FRONTED, RELAYED, PORTICO)
        ]


def group(protocol: str, file: str) -> str:
    """The name of a group of rows."""
    return f"{PROTOCOLS[protocol]}, {TITLES[file]}, {CONNECTIONS} connections"


def _start(home: Home, stack: contextlib.ExitStack) -> dict[tuple[str, str], str]:
    folder = home.folder / "files"
    folder.mkdir()
    for name, size in FILES.items():
        (folder / name).write_bytes(b"x" * size)
    environ = {**home.environ, "BENCH_FILES": str(folder)}
    home = Home(home.folder, environ, home.python)
    stack.enter_context(home.server())
    urls = {}
    for function, url in home.deploy("file_server_app.py").items():
        urls[PORTICO, function] = url
    for protocol, version in PROTOCOLS.items():
        port = free_port()
        command = (
            f"exec {home.python} -m http.server --bind 127.0.0.1 --protocol {version} "
            f"--directory {folder} {port} 2>/dev/null"
        )
        process = stack.enter_context(
            background(["sh", "-c", command], folder=home.folder / protocol, env=environ)
        )
        urls[DIRECT, protocol] = url = f"http://127.0.0.1:{port}"
        process.wait_for(partial(answered, url), "an answer")
        for server, options in ((FRONTED, []), (RELAYED, ["--relay"])):
            urls[server, protocol] = stack.enter_context(_fronted(home, server, port, options))
    return urls


@contextlib.contextmanager
def _fronted(home: Home, name: str, port: int, options: list[str]) -> Iterator[str]:
    command = [sys.executable, "-P", "-m", "benchmarks.fronted", str(port), *options]
    environ = {**home.environ, "PYTHONPATH": str(CHECKOUT)}
    folder = home.folder / f"{name.replace(' ', '')}-{port}"
    with background(command, folder=folder, env=environ) as process:
        yield process.wait_for(lambda: process.output.strip() or None, "its URL")


def _measure(url: str, file: str, plan: Plan) -> Mapping[str, float]:
    return wrk.load(f"{url}/{file}", connections=CONNECTIONS, seconds=plan.seconds)


SUITE = Suite(
    name="web-server",
    title="web_server: what the gateway and the relay into a container's network cost http.server (wrk)",
    columns=(
        Column(RATE, "requests", "/s"),
        Column(P50, "p50", "µs"),
        Column("p99", "p99", "µs"),
    ),
    targets=tuple(
        Target(
            f"The relay, {group(protocol, file)}: at least 0.8 × the gateway without it",
            Cell(group(protocol, file), RELAYED, RATE),
            "at least",
            Cell(group(protocol, file), FRONTED, RATE),
            factor=0.8,
        )
        for protocol in PROTOCOLS
        for file in FILES
    ),
    full=Plan(rounds=4, seconds=2),
    quick=Plan(rounds=1, seconds=1),
    set_up=set_up,
    on_request=True,
)
