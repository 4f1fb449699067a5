"""The process that imports the user's script: ``python -m portico.cli.loader FD``.

It imports the SDK, and whatever `Preload` names, but never user code: each `Load` runs in a fork of it, so
every load meets a fresh interpreter that is nevertheless warm. Without `os.fork` a `Load` runs here, once.
"""

from __future__ import annotations

import ast
import importlib
import os
import select
import signal
import socket
import sys
from collections.abc import Sequence
from contextlib import suppress

import msgspec

from portico.cli.messages import Answer, Load, LoadFailed, Preload, Request
from portico.cli.script import FRAMEWORKS, load_app, script_path
from portico.wire.frames import FrameDecoder, frame

ANSWERED = 64  # exit status of a fork that has sent its answer


class Loader:
    """Serves load requests on `channel` until the other side closes it."""

    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel
        self._frames = FrameDecoder()
        self._requests = msgspec.msgpack.Decoder(Request)
        self._pending: list[Request] = []

    def serve(self) -> None:
        """Handle requests in order; returns when the CLI is gone."""
        while (request := self._next()) is not None:
            if isinstance(request, Preload):
                preload(request.modules)
            elif hasattr(os, "fork"):
                self._load_in_fork(request)
            else:
                self._answer(load_app(request))
                return

    def _next(self) -> Request | None:
        while not self._pending:
            data = self._channel.recv(65536)
            if not data:
                return None
            for body in self._frames.feed(data):
                self._pending.append(self._requests.decode(body))
        return self._pending.pop(0)

    def _load_in_fork(self, load: Load) -> None:
        preload(imported_frameworks(load.target))
        alive, held = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(alive)
            os.setpgid(0, 0)
            self._answer(load_app(load))
            # Neither the user's atexit hooks nor our buffers are this process's to run or flush again.
            os._exit(ANSWERED)
        os.close(held)
        try:
            # The pipe ends with the fork; the channel speaks before that when a newer request supersedes
            # this load, or when the CLI is gone.
            select.select([alive, self._channel.fileno()], [], [])
            if not select.select([alive], [], [], 0)[0]:
                _kill_group(pid)
        finally:
            os.close(alive)
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        if status not in (ANSWERED, -signal.SIGKILL):
            self._answer(LoadFailed(number=load.number, kind="died", message=_how_it_died(status)))

    def _answer(self, answer: Answer) -> None:
        self._channel.sendall(frame(msgspec.msgpack.encode(answer)))


def preload(modules: Sequence[str]) -> None:
    """Import `modules`; one that fails here fails again, as the user's own, where the script imports it."""
    for module in modules:
        with suppress(Exception):
            importlib.import_module(module)


def imported_frameworks(target: str) -> list[str]:
    """The frameworks that the script itself imports at its top level, so that every load needs them."""
    try:
        tree = ast.parse(script_path(target).read_bytes())
    except (OSError, SyntaxError, ValueError):
        return []  # the load says it better
    modules: set[str] = set()
    for node in tree.body:
        if isinstance(node, ast.Import):
            modules.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            modules.add(node.module)
    roots = {module.partition(".")[0] for module in modules}
    return [name for name in FRAMEWORKS if name in roots]


def _kill_group(pid: int) -> None:
    try:
        os.killpg(pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        os.kill(pid, signal.SIGKILL)


def _how_it_died(status: int) -> str:
    if status < 0:
        return f"the interpreter was killed by signal {-status} while importing the script"
    return f"the script ended its interpreter with status {status} while it was imported"


def main() -> None:
    """Serve the socket whose file descriptor is the first argument."""
    channel = socket.socket(fileno=int(sys.argv[1]))
    # What the script prints must not mix with the CLI's stdout, which may be read by a program.
    os.dup2(2, 1)
    Loader(channel).serve()


if __name__ == "__main__":
    main()
