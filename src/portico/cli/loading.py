"""The CLI's side of the loader: a child process that is asked for the app in a script."""

from __future__ import annotations

import asyncio
import socket
import sys
from contextlib import suppress
from pathlib import Path
from types import TracebackType

import msgspec

from portico.cli.errors import UserCodeError
from portico.cli.messages import Answer, Load, Loaded, LoadFailed, Preload, Request
from portico.client.blobs import Blobs
from portico.exception import InvalidError
from portico.wire.frames import FrameDecoder, frame

END_TIMEOUT = 2.0  # seconds a loader has to notice that it is no longer wanted


class LoadError(Exception):
    """A script could not be loaded; `failure` says why and which files may mend it."""

    def __init__(self, failure: LoadFailed) -> None:
        super().__init__(failure.message)
        self.failure = failure

    def for_user(self) -> Exception:
        """The error to end a command with."""
        if self.failure.kind == "user":
            return UserCodeError(self.failure.message, self.failure.traceback)
        return InvalidError(self.failure.message)


class LoaderProcess:
    """A warm interpreter that loads scripts; a context manager that owns the child process.

    A load cancelled here is superseded there by the next. If the child dies it is started again by the
    next load, cold.
    """

    def __init__(self) -> None:
        self._process: asyncio.subprocess.Process | None = None
        self._channel: socket.socket | None = None
        self._frames = FrameDecoder()
        self._answers: msgspec.msgpack.Decoder[Answer] = msgspec.msgpack.Decoder(Answer)
        self._number = 0

    async def __aenter__(self) -> LoaderProcess:
        await self._start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._end()

    async def load(self, target: str) -> Loaded:
        """Import `target` in a fresh interpreter. Raises `LoadError`."""
        self._number += 1
        try:
            await self._send(Load(number=self._number, target=target))
            answer = await self._answer()
        except (EOFError, OSError):
            await self._end()
            raise LoadError(
                LoadFailed(
                    number=self._number,
                    kind="died",
                    message="the interpreter that loads the script died",
                    files=[str(Path(target.partition("::")[0]).resolve())],
                )
            ) from None
        if isinstance(answer, LoadFailed):
            raise LoadError(answer)
        return answer

    async def preload(self, modules: list[str]) -> None:
        """Have `modules` imported before the next load, without waiting for it."""
        with suppress(OSError):  # a dead child is the next load's business
            await self._send(Preload(modules=modules))

    async def _start(self) -> None:
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        with theirs:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-P",  # the user's folder must not shadow what the loader itself imports
                "-m",
                "portico.cli.loader",
                str(theirs.fileno()),
                stdin=asyncio.subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                start_new_session=True,  # Ctrl-C is the CLI's to handle
            )
        self._channel = ours
        self._frames = FrameDecoder()

    async def _end(self) -> None:
        if self._channel is not None:
            self._channel.close()
            self._channel = None
        if self._process is None:
            return
        process, self._process = self._process, None
        try:
            await asyncio.wait_for(process.wait(), END_TIMEOUT)
        except TimeoutError:
            process.kill()
            await process.wait()

    async def _send(self, request: Request) -> None:
        if self._channel is None:
            await self._start()
        assert self._channel is not None
        loop = asyncio.get_running_loop()
        await loop.sock_sendall(self._channel, frame(msgspec.msgpack.encode(request)))

    async def _answer(self) -> Answer:
        loop = asyncio.get_running_loop()
        assert self._channel is not None
        while True:
            data = await loop.sock_recv(self._channel, 1 << 18)
            if not data:
                raise EOFError
            for body in self._frames.feed(data):
                answer = self._answers.decode(body)
                if answer.number == self._number:
                    return answer


def blobs_of(loaded: Loaded) -> Blobs:
    """The blobs of a loaded app, as the client takes them."""
    return {**{digest: Path(path) for digest, path in loaded.files.items()}, **loaded.values}
