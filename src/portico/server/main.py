"""A server in a process of its own: ``portico server run``."""

from __future__ import annotations

import asyncio
import gc
import signal
import sys

import uvloop

from portico.server.certificates import CertificateError
from portico.server.config import ServerSettings
from portico.server.server import Server
from portico.server.state import StateLocked


def run(settings: ServerSettings) -> int:
    """Serve until SIGTERM or SIGINT. Returns the exit status."""
    try:
        return uvloop.run(_run(settings))
    except (OSError, StateLocked, CertificateError) as error:
        print(f"error: {_sentence(error)}", file=sys.stderr)
        return 1


async def _run(settings: ServerSettings) -> int:
    loop = asyncio.get_running_loop()
    asked_to_stop = asyncio.Event()
    for signum in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signum, asked_to_stop.set)
    _mind_hangups(loop, asked_to_stop)
    server = Server(settings)
    await server.start()
    try:
        # What a start leaves behind lives as long as the server: no later collection needs to look at it.
        gc.collect()
        gc.freeze()
        print(f"ready  web {server.web_url}  api {server.api_url}", file=sys.stderr, flush=True)
        await asked_to_stop.wait()
        for signum in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(signum)  # a second Ctrl-C does not wait
    finally:
        await server.stop()
    return 0


def _mind_hangups(loop: asyncio.AbstractEventLoop, asked_to_stop: asyncio.Event) -> None:
    """A terminal that goes takes its server along, in good order. Elsewhere SIGHUP is no reason to end.

    There it comes from what rotates logs or renews certificates, and the server sees by itself what has changed.
    """
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:  # nohup
        return
    in_terminal = sys.stdin is not None and sys.stdin.isatty()
    loop.add_signal_handler(signal.SIGHUP, asked_to_stop.set if in_terminal else lambda: None)


def _sentence(error: Exception) -> str:
    if not isinstance(error, OSError) or not error.strerror:
        return str(error)
    return f"{error.strerror}: {error.filename}" if error.filename else error.strerror
