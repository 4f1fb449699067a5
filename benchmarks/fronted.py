"""Portico's gateway alone, before a server on a port: ``python -m benchmarks.fronted PORT [--relay | --book BOOK]``.

With ``--relay`` the gateway dials a unix socket, and a second process relays it to the port as a container's
runner does; without, it dials the port. The difference is what the relay costs. ``--book`` says what becomes of
requests that are over: ``none`` forgets them, ``counts`` counts them as a server does, and a path is an access log
besides. Prints its own URL and serves until it is ended.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import uvloop

from portico.engines.base import ContainerListener
from portico.gateway.access_log import Ended
from portico.gateway.auth import ProxyTokens
from portico.gateway.forwarding import Forwarding
from portico.gateway.gateway import Gateway
from portico.gateway.ledger import Ledger
from portico.gateway.limits import Limits, TokenBucket
from portico.gateway.log_writer import LogWriter
from portico.pools.endpoint import Endpoint
from portico.pools.family import PoolFamily
from portico.pools.pool import Pool
from portico.runner.relay import Relay
from portico.wire.container import Address, Call, ContainerSpec, Ready
from portico.wire.image import ImageEnvironment
from portico.wire.manifest import FunctionSpec, MethodSpec, Scaling, WebSpec

FUNCTION = FunctionSpec(
    name="f",
    module="m",
    qualname="f",
    image="i",
    methods=(MethodSpec(web=WebSpec(kind="web_server", port=1)),),
    scaling=Scaling(max_inputs=1000, max_containers=1),
)


class Running:
    """An engine with one container, which runs already, at `address`."""

    pid = None

    def __init__(self, address: Address) -> None:
        self._ready = Ready(addresses={"": address})

    def start(self, spec: ContainerSpec, listener: ContainerListener) -> Running:
        asyncio.get_running_loop().call_soon(listener.ready, self._ready)
        return self

    def warm(self, environment: ImageEnvironment) -> None: ...

    async def only_one(self, function: FunctionSpec) -> bool:
        return True

    async def close(self) -> None: ...

    def cancel(self, inputs: Sequence[int]) -> None: ...

    def probe(self, inputs: Sequence[int]) -> None: ...

    def call(self, call: Call) -> None: ...

    def stop(self, grace: float) -> None: ...


def spec(container_id: str) -> ContainerSpec:
    environment = ImageEnvironment(image_id="im", python="python", runner_path=())
    return ContainerSpec(
        container_id=container_id,
        app_id="ap",
        app_name="app",
        function_id="fu",
        function=FUNCTION,
        environment=environment,
        source_root="/",
    )


class NoBook(Ledger):
    """Forgets every request."""

    __slots__ = ()

    def enter(self, ended: Ended, outcome: str, status: int) -> None: ...


def book(kind: str) -> Ledger:
    """What is meant by ``--book``."""
    if kind in ("none", "counts"):
        return NoBook() if kind == "none" else Ledger()
    log = LogWriter(Path(kind), complain=print)
    log.open()
    return Ledger(log)


async def serve(address: Address, ledger: Ledger) -> None:
    loop = asyncio.get_running_loop()
    gateway = Gateway(
        loop,
        limits=Limits(),
        forwarding=Forwarding(),
        bucket=TokenBucket(None, 0, loop.time),
        proxy_tokens=ProxyTokens(),
        ledger=ledger,
    )
    pools = PoolFamily(FUNCTION, lambda values: Pool(FUNCTION, Running(address), spec))
    endpoint = Endpoint(
        app_id="ap", function_id="fu", name="f", method="", pools=pools, timeout=60.0
    )
    gateway.publish("ap", {"127.0.0.1": endpoint}, {})
    print(f"http://127.0.0.1:{await gateway.listen('127.0.0.1', 0)}", flush=True)
    ended = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, ended.set)
    await ended.wait()
    await gateway.close(1.0)


async def relay(path: str, port: int) -> None:
    await Relay(("127.0.0.1", port), refused=lambda: None).listen(path)
    print("relaying", flush=True)
    await asyncio.Event().wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("port", type=int)
    parser.add_argument("--relay", action="store_true")
    parser.add_argument("--relay-at", metavar="PATH")
    parser.add_argument("--book", metavar="none|counts|PATH", default="counts")
    arguments = parser.parse_args()
    if arguments.relay_at:
        uvloop.run(relay(arguments.relay_at, arguments.port))
        return
    if not arguments.relay:
        address = Address(host="127.0.0.1", port=arguments.port, reports_end=False)
        uvloop.run(serve(address, book(arguments.book)))
        return
    with tempfile.TemporaryDirectory(prefix="portico-bench-relay-") as folder:
        path = str(Path(folder) / "socket")
        command = [sys.executable, "-P", "-m", "benchmarks.fronted", str(arguments.port)]
        with subprocess.Popen([*command, "--relay-at", path], stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            process.stdout.readline()
            try:
                uvloop.run(serve(Address(path=path, reports_end=False), Ledger()))
            finally:
                process.kill()


if __name__ == "__main__":
    main()
