"""One container of the process sandbox, seen from the server."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Literal, cast

import msgspec

from portico.sandboxes.base import LogSink, SandboxListener
from portico.sandboxes.environment import container_variables
from portico.sandboxes.ledger import Ledger
from portico.sandboxes.logs import LogPipe
from portico.sandboxes.network import Networks
from portico.sandboxes.zygote import SandboxError, Zygote
from portico.wire.container import (
    Call,
    Cancel,
    ContainerExit,
    ContainerSpec,
    Failed,
    FromContainer,
    LogLine,
    Probe,
    Start,
    ToContainer,
)
from portico.wire.frames import FrameDecoder, FrameError, frame

LAST_WORDS = 1.0  # seconds for the end of a dead container's control stream to arrive


class ControlStream(asyncio.Protocol):
    """Frames to and from one container."""

    def __init__(self, received: Callable[[FromContainer], None]) -> None:
        self.lost = asyncio.Event()
        self._received = received
        self._decoder = FrameDecoder()
        self._messages = msgspec.msgpack.Decoder(FromContainer)
        self._transport: asyncio.Transport | None = None

    def send(self, message: ToContainer) -> None:
        """Send `message`; nothing happens where the container is gone."""
        if self._transport is not None:
            self._transport.write(frame(msgspec.msgpack.encode(message)))

    def close(self) -> None:
        """Hang up."""
        if self._transport is not None:
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        try:
            for body in self._decoder.feed(data):
                self._received(self._messages.decode(body))
        except (FrameError, msgspec.MsgspecError):
            # User code runs in that process and may have written to anything: hang up, which ends it.
            self.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self.lost.set()


class ProcessContainer:
    """Runs one container from its folder to its end. `run` is its life; the rest is what others ask of it."""

    def __init__(
        self,
        spec: ContainerSpec,
        listener: SandboxListener,
        *,
        run_dir: Path,
        ledger: Ledger,
        networks: Networks,
        logs: LogSink,
    ) -> None:
        self.folder = str(run_dir.resolve() / spec.container_id)
        self._spec = spec
        self._listener = listener
        self._ledger = ledger
        self._networks = networks
        self._logs = logs
        self._loop = asyncio.get_running_loop()
        self._asked_at = time.monotonic()
        self._booting: asyncio.Future[Zygote] | None = None
        self._zygote: Zygote | None = None
        self._control: ControlStream | None = None
        self._pid: int | None = None
        self._ended: asyncio.Future[ContainerExit] = self._loop.create_future()
        self._stopping = False
        self._killer: asyncio.TimerHandle | None = None

    async def run(self, zygote: Callable[[], Awaitable[Zygote]]) -> None:
        """Start, live, end; tells the listener how it ended when nothing is left."""
        pipes: list[LogPipe] = []
        try:
            exit = await self._live(zygote, pipes)
        except (OSError, SandboxError) as error:
            exit = never_ran(str(error))
        try:
            for pipe in pipes:
                pipe.finish()
            await self._clean_up()
        finally:
            self._listener.exited(exit)

    async def _clean_up(self) -> None:
        if self._killer is not None:
            self._killer.cancel()
        await asyncio.to_thread(shutil.rmtree, self.folder, ignore_errors=True)
        for number in range(len(self._spec.function.methods)):
            (self._ledger.sockets / f"{self._spec.container_id}.{number}").unlink(missing_ok=True)
        self._ledger.forget(self._spec.container_id)

    async def _live(
        self, zygote: Callable[[], Awaitable[Zygote]], pipes: list[LogPipe]
    ) -> ContainerExit:
        self._booting = asyncio.ensure_future(zygote())
        await asyncio.wait({self._booting})
        if self._booting.cancelled():
            return never_ran("stopped before it was started")
        booted = self._booting.result()
        self._make_folder()
        variables = container_variables(self._spec, self.folder, booted.cookie, os.environ)
        start = Start(
            spec=self._spec,
            folder=self.folder,
            sockets=str(self._ledger.sockets),
            variables=variables,
            asked_at=self._asked_at,
            network=await self._networks.choose() if self._spec.function.ports else None,
        )
        control = self._control = ControlStream(self._received)
        await self._fork(booted, control, pipes)
        control.send(start)
        exit = await self._ended
        try:
            await asyncio.wait_for(control.lost.wait(), LAST_WORDS)
        except TimeoutError:
            control.close()
        return exit

    async def _fork(self, zygote: Zygote, control: ControlStream, pipes: list[LogPipe]) -> None:
        theirs: list[int] = []
        ours: list[int] = []
        try:
            near, far = socket.socketpair()
            theirs.append(far.detach())
            ours.append(near.detach())
            for _ in range(2):
                reader, writer = os.pipe()
                ours.append(reader)
                theirs.append(writer)
        except OSError:
            for descriptor in ours + theirs:
                os.close(descriptor)
            raise
        pipes += [LogPipe(ours[1], "stdout", self._log), LogPipe(ours[2], "stderr", self._log)]
        near = socket.socket(fileno=ours[0])
        await self._loop.create_unix_connection(lambda: control, sock=near)
        if self._stopping or not zygote.alive:
            control.close()
            for descriptor in theirs:
                os.close(descriptor)
            raise SandboxError("stopped before it was started")
        self._zygote = zygote
        zygote.fork(self._spec.container_id, self, theirs)

    def _make_folder(self) -> None:
        """The container's own folder, in which the app's files appear under their relative paths."""
        self._ledger.expect(self._spec.container_id)
        os.mkdir(self.folder, 0o700)
        with os.scandir(self._spec.source_root) as entries:
            for entry in entries:
                if entry.name != "__pycache__":
                    os.symlink(entry.path, os.path.join(self.folder, entry.name))

    # ---- what the zygote and the container say

    def forked(self, pid: int) -> None:
        """The zygote has forked it."""
        self._pid = pid
        self._ledger.record(self._spec.container_id, pid)

    def exited(self, status: int | None, problem: str = "") -> None:
        """The zygote says that nothing is left of it."""
        self._zygote = None
        if status is None:
            self._ended.set_result(never_ran(problem))
        else:
            self._ended.set_result(ContainerExit(status=status))

    def _received(self, message: FromContainer) -> None:
        self._listener.message(message)

    def _log(self, stream: str, text: str) -> None:
        self._logs(
            LogLine(
                time=time.time(),
                app_id=self._spec.app_id,
                container_id=self._spec.container_id,
                function=self._spec.function.name,
                stream=cast(Literal["stdout", "stderr"], stream),
                text=text,
            )
        )

    # ---- what the engine asks

    @property
    def pid(self) -> int | None:
        """Process id of the leader, once known."""
        return self._pid

    def cancel(self, inputs: Sequence[int]) -> None:
        """Send `Cancel`."""
        self._send(Cancel(inputs=tuple(inputs)))

    def probe(self, inputs: Sequence[int]) -> None:
        """Send `Probe`."""
        self._send(Probe(inputs=tuple(inputs)))

    def call(self, call: Call) -> None:
        """Send `Call`."""
        self._send(call)

    def stop(self, grace: float) -> None:
        """SIGTERM now, SIGKILL to the group after `grace` seconds. The shortest grace asked for wins."""
        if self._ended.done():
            return
        if not self._stopping:
            self._stopping = True
            if self._booting is not None:
                self._booting.cancel()
            if grace > 0:
                self._signal(signal.SIGTERM)
        deadline = self._loop.time() + grace
        if self._killer is not None:
            if self._killer.when() <= deadline:
                return
            self._killer.cancel()
        self._killer = self._loop.call_at(deadline, self._signal, signal.SIGKILL)

    def _signal(self, signum: int) -> None:
        if self._zygote is not None:
            self._zygote.signal(self._spec.container_id, signum)

    def _send(self, message: ToContainer) -> None:
        if self._control is not None:
            self._control.send(message)


def never_ran(problem: str) -> ContainerExit:
    """The end of a container that was not started."""
    return ContainerExit(status=None, failure=Failed(phase="boot", message=problem))
