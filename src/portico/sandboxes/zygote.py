"""The server's side of a zygote: one process per image environment, which forks containers on demand."""

from __future__ import annotations

import asyncio
import collections
import contextlib
import os
import secrets
import signal
import socket
import subprocess
from collections.abc import Callable, Sequence
from typing import Protocol

import msgspec

from portico.sandboxes.environment import base_variables
from portico.sandboxes.ledger import ZYGOTE, Ledger
from portico.sandboxes.strays import Marks, end_strays
from portico.wire.frames import FrameDecoder, frame
from portico.wire.image import ImageEnvironment
from portico.wire.zygote import Booted, Exited, Fork, Forked, FromZygote, Signal, ToZygote

OUTPUT_KEPT = 4096  # bytes of a zygote's own output, to explain why it did not boot
CLOSE_PATIENCE = 10.0  # seconds


class SandboxError(Exception):
    """A container could not be started for a reason outside the user's code."""


class Child(Protocol):
    """Told about the container it asked for. `exited` is the last call, exactly once."""

    folder: str

    def forked(self, pid: int) -> None:
        """The container runs."""

    def exited(self, status: int | None, problem: str = "") -> None:
        """Nothing of the container is left. `status` is None, with the `problem`, where it never ran."""


class Zygote:
    """Boots on construction. `lost` is called once it is gone and its containers have been told."""

    def __init__(
        self,
        environment: ImageEnvironment,
        ledger: Ledger,
        lost: Callable[[Zygote], None],
    ) -> None:
        self.cookie = secrets.token_hex(16)
        self.children: dict[str, Child] = {}
        self.alive = True
        self._lost = lost
        self._ledger = ledger
        self._loop = asyncio.get_running_loop()
        self._pids: dict[str, int] = {}
        self._decoder = FrameDecoder()
        self._messages = msgspec.msgpack.Decoder(FromZygote)
        self._outgoing: collections.deque[tuple[bytes, tuple[int, ...]]] = collections.deque()
        self._booted: asyncio.Future[None] = self._loop.create_future()
        self._gone = asyncio.Event()
        self._burial: asyncio.Task[None] | None = None
        self._output = b""
        self._socket, self._process = self._spawn(environment)
        self._loop.add_reader(self._socket, self._readable)
        assert self._process.stdout is not None
        os.set_blocking(self._process.stdout.fileno(), False)
        self._loop.add_reader(self._process.stdout, self._drain_output)

    def _spawn(
        self, environment: ImageEnvironment
    ) -> tuple[socket.socket, subprocess.Popen[bytes]]:
        name = ZYGOTE + self.cookie
        self._ledger.expect(name)
        ours, theirs = socket.socketpair()
        with theirs:
            program = (
                f"import sys; sys.path += {list(environment.runner_path)!r}; "
                f"from portico.runner.zygote import main; main({theirs.fileno()})"
            )
            try:
                process = subprocess.Popen(
                    [environment.python, "-I", "-c", program],
                    pass_fds=(theirs.fileno(),),
                    env=base_variables(environment, self.cookie, os.environ),
                    cwd="/",
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,  # a Ctrl-C at the terminal is the server's to handle
                )
            except OSError:
                ours.close()
                self._ledger.forget(name)
                raise
        ours.setblocking(False)
        self._ledger.record(name, process.pid)
        return ours, process

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    async def booted(self) -> None:
        """Wait until forks are fast. Raises `SandboxError` with the end of its output if it died instead."""
        await asyncio.shield(self._booted)

    def fork(self, container_id: str, child: Child, descriptors: Sequence[int]) -> None:
        """Ask for a container. Takes over (and closes) `descriptors`: control socket, stdout, stderr."""
        self.children[container_id] = child
        self._send(Fork(container_id=container_id), tuple(descriptors))

    def signal(self, container_id: str, signum: int) -> None:
        """Send a signal to a container, never to a process that has its number by accident."""
        if self.alive and container_id in self.children:
            self._send(Signal(container_id=container_id, signum=signum))

    async def close(self) -> None:
        """Hang up and wait until it, and whatever it still had, is gone."""
        if self.alive:
            self._hang_up()
        await self._gone.wait()

    # ---- messages

    def _send(self, message: ToZygote, descriptors: tuple[int, ...] = ()) -> None:
        self._outgoing.append((frame(msgspec.msgpack.encode(message)), descriptors))
        if len(self._outgoing) == 1:
            self._flush()

    def _flush(self) -> None:
        while self._outgoing:
            data, descriptors = self._outgoing[0]
            try:
                sent = socket.send_fds(self._socket, [data], descriptors)
            except BlockingIOError:
                self._loop.add_writer(self._socket, self._flush)
                return
            except OSError:  # it is gone, and the reader will notice
                break
            _close_all(descriptors)
            if sent < len(data):
                self._outgoing[0] = (data[sent:], ())
            else:
                self._outgoing.popleft()
        self._loop.remove_writer(self._socket)

    def _readable(self) -> None:
        try:
            data = self._socket.recv(65536)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._hang_up()
            return
        for body in self._decoder.feed(data):
            self._received(self._messages.decode(body))

    def _received(self, message: FromZygote) -> None:
        if isinstance(message, Booted):
            self._booted.set_result(None)
        elif isinstance(message, Forked):
            self._pids[message.container_id] = message.pid
            self.children[message.container_id].forked(message.pid)
        elif isinstance(message, Exited):
            del self._pids[message.container_id]
            self.children.pop(message.container_id).exited(message.status)
        else:
            self.children.pop(message.container_id).exited(None, message.message)

    def _drain_output(self) -> None:
        assert self._process.stdout is not None
        try:
            data = os.read(self._process.stdout.fileno(), OUTPUT_KEPT)
        except BlockingIOError:
            return
        if not data:
            self._loop.remove_reader(self._process.stdout)
        self._output = (self._output + data)[-OUTPUT_KEPT:]

    # ---- its end

    def _hang_up(self) -> None:
        self.alive = False
        self._loop.remove_reader(self._socket)
        self._loop.remove_writer(self._socket)
        self._socket.close()
        while self._outgoing:
            _close_all(self._outgoing.popleft()[1])
        self._burial = self._loop.create_task(self._bury())

    async def _bury(self) -> None:
        """Wait for its end, end what it could not, and tell everybody."""
        await asyncio.to_thread(self._end_processes)
        assert self._process.stdout is not None
        self._drain_output()
        self._loop.remove_reader(self._process.stdout)
        self._process.stdout.close()
        self._ledger.forget(ZYGOTE + self.cookie)
        problem = self._explanation()
        if not self._booted.done():
            self._booted.set_exception(SandboxError(problem))
            self._booted.exception()  # nobody may be waiting
        for container_id, child in list(self.children.items()):
            ran = container_id in self._pids
            child.exited(-signal.SIGKILL if ran else None, problem)
        self.children.clear()
        self._gone.set()
        self._lost(self)

    def _end_processes(self) -> None:
        # Having lost its socket it ends its containers by itself; one that was killed could not.
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(CLOSE_PATIENCE)
        self._process.kill()
        self._process.wait()
        folders = tuple(child.folder for child in self.children.values())
        end_strays([Marks(self.cookie, frozenset(self._pids.values()), folders)])

    def _explanation(self) -> str:
        output = self._output.decode("utf-8", "replace").strip()
        last = f": {output}" if output else ""
        return f"the image's zygote ended with status {self._process.returncode}{last}"


def _close_all(descriptors: Sequence[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)
