"""One container, from the fork to its exit (SPEC §5, Lifecycle order)."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import os
import resource
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from portico.runner import kinds
from portico.runner.calls import Calls
from portico.runner.control import Control, die_with, receive_start, send_failed
from portico.runner.failures import StartFailed
from portico.runner.inputs import Inputs
from portico.runner.kinds.base import Accounts, Endpoint, WebMethod
from portico.runner.loading import (
    LoadedClass,
    LoadedFunction,
    load,
    prepare_imports,
)
from portico.runner.network import enter_own_network, watch
from portico.runner.patched import refuse_patched_threads
from portico.runner.threads import allow_threads, await_worker_threads
from portico.runner.tracebacks import report
from portico.runner.websockets import WebSockets
from portico.wire.container import (
    Address,
    Call,
    Cancel,
    Ended,
    Probe,
    Ready,
    Start,
    StartPhase,
)

GOING_AWAY = 1001  # RFC 6455 §7.4.1


def run_container(control: socket.socket, *, os_death_signal: bool) -> int:
    """Become what the first frame on `control` says, serve until SIGTERM, and return the exit status.

    `os_death_signal` says that the operating system ends this process with its parent; otherwise a thread
    watches the control socket.
    """
    if not os_death_signal:
        die_with(control)
    try:
        start = receive_start(control)
    except (EOFError, ConnectionError):
        return 1
    become(start)
    container = Container(start, control)
    try:
        container.start()
    except StartFailed as error:
        failed = error.failed
        print(failed.traceback or failed.message, file=sys.stderr)
        send_failed(control, failed)
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(1)  # threads that the user's code has started must not hold up the news
    return container.serve()


def become(start: Start) -> None:
    """Take on the container's environment, folder, limits and output."""
    os.environ.clear()
    os.environ.update(start.variables)
    time.tzset()
    os.chdir(working_folder(start.folder, start.spec.workdir))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    sys.argv = [start.spec.function.module]
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(encoding="utf-8", errors="backslashreplace", line_buffering=True)


def working_folder(folder: str, workdir: str | None) -> str:
    """`workdir` in the container's own folder, which stands in for /root; made where it does not exist.

    An absolute one elsewhere is a folder of the machine.
    """
    if workdir is None:
        return folder
    path = Path(workdir)
    if path.is_absolute() and not path.is_relative_to("/root"):
        return workdir
    inside = Path(folder) / (path.relative_to("/root") if path.is_absolute() else path)
    inside.mkdir(parents=True, exist_ok=True)
    return str(inside)


class Container:
    """Brings the user's function or class up, serves it, and takes it down in the opposite order.

    User code outside of requests runs on the main thread with no event loop running, so that it may use
    ``asyncio.run``; its coroutines run on the loop that will serve.
    """

    def __init__(self, start: Start, control: socket.socket) -> None:
        self._start = start
        self._spec = start.spec
        self._socket = control
        self._loop = new_event_loop()
        asyncio.set_event_loop(self._loop)
        self._control = Control(self._received)
        self._inputs = Inputs(self._loop, lambda ended: self._control.send(Ended(inputs=ended)))
        self._websockets = WebSockets()
        self._endpoints: dict[str, Endpoint] = {}
        self._timings: dict[str, float] = {}
        self._stopping = asyncio.Event()
        self._network: subprocess.Popen[bytes] | None = None
        self._lost_server = False

    def start(self) -> None:
        """Everything up to the first input. Raises `StartFailed`."""
        if self._start.asked_at is not None:
            self._timings["boot"] = (time.monotonic() - self._start.asked_at) * 1000
        spec = self._spec
        with self._phase("boot"):
            self._enter_network()
        with self._phase("import"):
            prepare_imports(spec)
            target = load(spec.function)
        with self._phase("enter"):
            self._loaded: LoadedClass | LoadedFunction
            if isinstance(target, type) and spec.function.is_class:
                self._loaded = LoadedClass(spec, target)
            else:
                self._loaded = LoadedFunction(spec.function, target)
            self._run_hooks(self._loaded.hooks.enter_snap)
            self._run_hooks(self._loaded.hooks.enter)
        await_worker_threads(self._inputs, self._loop)
        with self._phase("app"):
            accounts = self._accounts()
            for name, (function, web) in self._loaded.web.items():
                self._endpoints[name] = kinds.build(WebMethod(name, function, web), accounts)
        for endpoint in self._endpoints.values():
            with self._phase(endpoint.startup_phase):
                self._loop.run_until_complete(endpoint.startup())
        with self._phase("boot"):
            self._calls = Calls(
                self._loaded.callables,
                self._inputs,
                self._control.send,
                spec.function.scaling.max_inputs,
            )
            self._addresses = self._loop.run_until_complete(self._listen())

    def _enter_network(self) -> None:
        network = self._start.network
        if network is not None and network.helper:
            self._network = enter_own_network(network)

    def _accounts(self) -> Accounts:
        network = self._start.network
        return Accounts(
            inputs=self._inputs,
            websockets=self._websockets,
            slots=self._spec.function.scaling.max_inputs,
            server_ended=self._server_ended,
            shared_because=network.shared_because if network is not None else "",
            network_helper=self._network.pid if self._network is not None else None,
            ephemeral=self._spec.ephemeral,
        )

    def _server_ended(self, reason: str) -> None:
        """What this container is for is gone: a server that the user's function has started, or the network."""
        if self._lost_server or self._stopping.is_set():
            return
        print(reason, file=sys.stderr, flush=True)
        self._lost_server = True
        self._stopping.set()

    def serve(self) -> int:
        """Take inputs until SIGTERM, then end in order. Returns the exit status."""
        self._loop.run_until_complete(self._serve())
        shutdowns = [endpoint.shutdown for endpoint in reversed(self._endpoints.values())]
        hooks = [*shutdowns, *self._loaded.hooks.exit]
        failed = [hook for hook in hooks if not self._put_away(hook)]
        self._loop.run_until_complete(self._control.close())
        self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        return 1 if failed or self._lost_server else 0

    def _put_away(self, hook: Any) -> bool:
        """Run one hook of the end; what it raises is printed, for the others have work of their own."""
        try:
            self._run_hooks([hook])
        except BaseException as error:
            report(error)
            return False
        return True

    async def _listen(self) -> dict[str, Address]:
        folder = Path(self._start.sockets)
        await allow_threads(self._spec.function.scaling.max_inputs)
        return {
            name: await endpoint.listen(str(folder / f"{self._spec.container_id}.{number}"))
            for number, (name, endpoint) in enumerate(self._endpoints.items())
        }

    async def _serve(self) -> None:
        self._loop.add_signal_handler(signal.SIGTERM, self._stopping.set)
        await self._control.connect(self._socket)
        if self._network is not None:
            watch(self._network, self._loop, self._server_ended)
        timings = {phase: round(spent, 2) for phase, spent in self._timings.items()}
        self._control.send(Ready(addresses=self._addresses, timings=timings))
        await self._stopping.wait()
        await self._websockets.close(GOING_AWAY)
        for endpoint in self._endpoints.values():
            endpoint.refuse_new()
        await self._inputs.drained()

    def _received(self, message: Cancel | Probe | Call) -> None:
        if isinstance(message, Cancel):
            self._inputs.cancel(message.inputs)
        elif isinstance(message, Probe):
            self._inputs.probe(message.inputs)
        else:
            self._calls.start(message)

    def _run_hooks(self, hooks: Iterable[Any]) -> None:
        for hook in hooks:
            result = hook()
            if inspect.isawaitable(result):
                self._loop.run_until_complete(completed(result))

    @contextlib.contextmanager
    def _phase(self, phase: StartPhase) -> Iterator[None]:
        began = time.perf_counter()
        try:
            yield
            refuse_patched_threads()
        except BaseException as error:  # sys.exit() in a user's module is a failed import, too
            raise StartFailed.of(phase, error) from error
        spent = (time.perf_counter() - began) * 1000
        self._timings[phase] = self._timings.get(phase, 0.0) + spent


async def completed(awaitable: Any) -> None:
    """Await anything that can be awaited."""
    await awaitable


def new_event_loop() -> asyncio.AbstractEventLoop:
    """A uvloop where the platform has one."""
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop()
    loop: asyncio.AbstractEventLoop = uvloop.new_event_loop()
    return loop
