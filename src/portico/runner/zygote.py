"""The zygote: a process that has imported what every container of an image needs, and forks containers.

It never runs user code, has one thread and no event loop. Everything it knows is its children: the
containers it was asked for, and the orphans that a dead container left and that the kernel handed to it
because it is a subreaper. A container is reported as gone when its orphans are gone too.
"""

from __future__ import annotations

import array
import contextlib
import gc
import importlib
import os
import select
import signal
import socket
import sys
from collections.abc import Iterable

import msgspec

from portico.runner import processes
from portico.runner.container import run_container
from portico.wire.frames import FrameDecoder, frame
from portico.wire.zygote import (
    Booted,
    Exited,
    Fork,
    Forked,
    ForkFailed,
    FromZygote,
    Signal,
    ToZygote,
)

FDS_PER_FORK = 3
MAX_FDS = 64 * FDS_PER_FORK
ORPHAN_POLL = (
    20  # milliseconds between two looks at orphans that have been killed and are not gone yet
)

PRELOADED = (
    "asyncio",
    "cloudpickle",
    "concurrent.futures.thread",
    "encodings.idna",
    "uvloop",
    "uvicorn.server",
    "uvicorn.protocols.http.httptools_impl",
    "uvicorn.protocols.websockets.websockets_sansio_impl",
    "anyio.to_thread",
    "anyio._backends._asyncio",
    "starlette.applications",
    "starlette.background",
    "starlette.formparsers",
    "starlette.middleware.base",
    "starlette.staticfiles",
    "starlette.websockets",
    "fastapi",
    "fastapi.middleware.cors",
    "fastapi.openapi.utils",
    "fastapi.responses",
    "fastapi.security",
    "python_multipart.multipart",
)


def main(descriptor: int) -> None:
    """Serve the sandbox at the other end of socket `descriptor` until it hangs up."""
    gc.disable()
    preload(PRELOADED)
    gc.collect()
    gc.freeze()
    with socket.socket(fileno=descriptor) as server:
        status = Zygote(server, processes.prepare_prctl()).run()
    # Containers come back up this way and leave like any Python program: exit handlers, threads joined.
    sys.exit(status)


def preload(names: Iterable[str]) -> None:
    """Import what the image has of `names`. A broken package is for the container that uses it to report."""
    for name in names:
        with contextlib.suppress(Exception):
            importlib.import_module(name)
    with contextlib.suppress(Exception):
        _warm_fastapi()


def _warm_fastapi() -> None:
    # Building the first route imports and compiles a good deal lazily; every container would pay for it.
    from fastapi import FastAPI

    async def route(x: int = 0) -> dict[str, int]:
        return {"x": x}

    app = FastAPI()
    app.add_api_route("/", route)
    app.build_middleware_stack()


class Zygote:
    """Forks containers for one sandbox and sees to it that they end completely."""

    def __init__(self, server: socket.socket, prctl: processes.Prctl | None) -> None:
        self._server = server
        self._prctl = prctl
        self._decoder = FrameDecoder()
        self._messages = msgspec.msgpack.Decoder(ToZygote)
        self._descriptors: list[int] = []
        self._pids: dict[str, int] = {}
        self._containers: dict[int, str] = {}
        self._statuses: dict[str, int] = {}  # leaders that have ended, whose orphans may not have

    def run(self) -> int:
        """Work until the sandbox hangs up. In a forked container, return with its exit status instead."""
        if self._prctl is not None:
            self._prctl(processes.PR_SET_CHILD_SUBREAPER, 1)
        wake_read, wake_write = os.pipe()
        os.set_blocking(wake_read, False)
        os.set_blocking(wake_write, False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
        poller = select.poll()
        poller.register(self._server, select.POLLIN)
        poller.register(wake_read, select.POLLIN)
        self._send(Booted())
        while True:
            ready = {fd for fd, _ in poller.poll(ORPHAN_POLL if self._statuses else None)}
            if wake_read in ready:
                with contextlib.suppress(BlockingIOError):
                    os.read(wake_read, 4096)
            self._reap()
            if self._server.fileno() not in ready:
                continue
            messages = self._receive()
            if messages is None:
                self._end_all()
                return 0
            for message in messages:
                if isinstance(message, Signal):
                    self._signal(message)
                    continue
                control = self._fork(message)
                if control is not None:  # this is the container
                    signal.set_wakeup_fd(-1)
                    for descriptor in (wake_read, wake_write):
                        os.close(descriptor)
                    return run_container(control, os_death_signal=self._prctl is not None)

    # ---- the sandbox's wishes

    def _receive(self) -> list[Fork | Signal] | None:
        """Messages that are whole now, or None when the sandbox is gone."""
        room = socket.CMSG_SPACE(MAX_FDS * array.array("i").itemsize)
        try:
            data, ancillary, _, _ = self._server.recvmsg(65536, room)
        except ConnectionError:
            return None
        for level, kind, payload in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                descriptors = array.array("i")
                descriptors.frombytes(payload[: len(payload) - len(payload) % descriptors.itemsize])
                self._descriptors.extend(descriptors)
        if not data:
            return None
        return [self._messages.decode(body) for body in self._decoder.feed(data)]

    def _fork(self, message: Fork) -> socket.socket | None:
        """Fork; returns the control socket in the child and None in the zygote."""
        control, out, err = self._descriptors[:FDS_PER_FORK]
        del self._descriptors[:FDS_PER_FORK]
        zygote = os.getpid()
        try:
            pid = os.fork()
        except OSError as error:
            reason = f"the machine refused another process: {error}"
            self._send(ForkFailed(container_id=message.container_id, message=reason))
            pid = -1
        if pid == 0:
            self._become_container(zygote, out, err)
            return socket.socket(fileno=control)
        for descriptor in (control, out, err):
            os.close(descriptor)
        if pid > 0:
            self._pids[message.container_id] = pid
            self._containers[pid] = message.container_id
            self._send(Forked(container_id=message.container_id, pid=pid))
        return None

    def _become_container(self, zygote: int, out: int, err: int) -> None:
        os.setsid()
        if self._prctl is not None:
            self._prctl(processes.PR_SET_PDEATHSIG, signal.SIGKILL)
            self._prctl(processes.PR_SET_CHILD_SUBREAPER, 1)
            if os.getppid() != zygote:  # it died before the signal was asked for
                os._exit(1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for source, target in ((out, 1), (err, 2)):
            os.dup2(source, target)
            os.close(source)
        # Descriptors of forks that wait behind this one in the same read are not this container's.
        for descriptor in self._descriptors:
            os.close(descriptor)
        self._server.close()
        gc.enable()

    def _signal(self, message: Signal) -> None:
        pid = self._pids.get(message.container_id)
        if pid is None or message.container_id in self._statuses:
            return
        with contextlib.suppress(ProcessLookupError):
            if message.signum == signal.SIGKILL:
                kill_group(pid)
            else:
                os.kill(pid, message.signum)

    def _send(self, message: FromZygote) -> None:
        # Blocks when the sandbox does not read: it then has worse problems than a slow zygote.
        with contextlib.suppress(ConnectionError):
            self._server.sendall(frame(msgspec.msgpack.encode(message)))

    # ---- the ends of processes

    def _reap(self) -> None:
        """Collect what has ended; report containers of which nothing is left."""
        for pid, status in processes.collect_dead(self._bury):
            container = self._containers.pop(pid, None)
            if container is not None:
                self._statuses[container] = status
        if self._statuses and not self._kill_orphans():
            self._report()

    def _bury(self, pid: int) -> None:
        if pid in self._containers:
            kill_group(pid)

    def _kill_orphans(self) -> bool:
        """Kill every child that is no container: only dead containers leave such. True if there were any."""
        orphans = processes.own_children() - self._containers.keys()
        for pid in orphans:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return bool(orphans)

    def _report(self) -> None:
        for container_id, status in self._statuses.items():
            del self._pids[container_id]
            self._send(Exited(container_id=container_id, status=status))
        self._statuses.clear()

    def _end_all(self) -> None:
        """The sandbox is gone: nothing that runs here may outlive it."""
        for pid in list(self._containers):
            kill_group(pid)
        while self._containers or self._statuses:
            select.select([], [], [], ORPHAN_POLL / 1000)
            self._reap()


def kill_group(leader: int) -> None:
    """SIGKILL to `leader` and its group; to the leader alone where it has not made its group yet."""
    for kill in (os.killpg, os.kill):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            kill(leader, signal.SIGKILL)
