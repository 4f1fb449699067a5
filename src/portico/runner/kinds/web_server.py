"""``web_server``: the function starts a server, and requests go to the port that it listens on."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import signal
import socket
import threading
import time
import types
from collections.abc import Iterator
from pathlib import Path

from portico.runner import processes
from portico.runner.failures import CannotServe
from portico.runner.kinds.base import Accounts, Endpoint, WebMethod
from portico.runner.listeners import Listeners, accepting_host, is_listened_on
from portico.runner.relay import Relay
from portico.wire.container import Address, StartPhase

POLL = 0.01  # seconds between looks at a port that nobody listens on yet; no event tells
STOP_PATIENCE = 10.0  # seconds a server has to end after SIGTERM
EPHEMERAL_STOP_PATIENCE = 3.0  # of the five that an ephemeral app's container has to end
TAKEN_PATIENCE = 10.0  # seconds for a former container to give a shared port up


def build(method: WebMethod, accounts: Accounts) -> Endpoint:
    """Call the function once; it is to start the server and return."""
    port = method.web.port
    assert port is not None  # the decorator asks for it
    if accounts.shared_because:
        await_free_port(port, accounts.shared_because)
    name = getattr(method.target, "__qualname__", "the function")
    with refusing_to_block(name, port, method.web.startup_timeout):
        method.target()
    return PortEndpoint(name, port, method.web.startup_timeout, accounts)


class PortEndpoint:
    """A server on `port`, behind a relay. Its end is told by ``accounts.server_ended``, once."""

    startup_phase: StartPhase = "port"

    def __init__(self, name: str, port: int, patience: float, accounts: Accounts) -> None:
        self._name = name
        self._port = port
        self._patience = patience
        self._helper = accounts.network_helper
        self._stop_patience = EPHEMERAL_STOP_PATIENCE if accounts.ephemeral else STOP_PATIENCE
        self._tell = accounts.server_ended
        self._listeners = Listeners(port, self._look_again)
        self._relay: Relay | None = None
        self._over = False

    async def startup(self) -> None:
        """Wait until the port accepts connections. Raises `CannotServe`."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._patience
        host = accepting_host(self._port)
        while host is None:
            if loop.time() > deadline:
                raise CannotServe(
                    f"nothing accepts connections on port {self._port}, {self._patience:g} seconds after "
                    f"{self._name} returned: let the server listen on 0.0.0.0:{self._port}, and raise the "
                    "startup_timeout of @web_server if it needs longer"
                )
            if not anything_runs(besides=self._helper):
                raise CannotServe(
                    f"{self._name} has returned and no process or thread that it started is left, so nothing will "
                    f"ever listen on port {self._port}: see the log for what its server said"
                )
            await asyncio.sleep(POLL)
            host = accepting_host(self._port)
        self._relay = Relay((host, self._port), self._look_again)
        self._listeners.watch()

    async def listen(self, path: str) -> Address:
        """Relay what comes to the unix socket `path`."""
        assert self._relay is not None
        await self._relay.listen(path)
        return Address(path=path, reports_end=False)

    def _look_again(self) -> None:
        """A process that listened has ended, or a connection was refused: is the server gone?

        The relay is closed in the same breath, so that whoever lost a connection to it finds nobody there and is
        sent to another container.
        """
        if self._over:
            return
        if is_listened_on(self._port):  # by another process of the server
            self._listeners.watch()
            return
        self.refuse_new()
        self._tell(f"the server on port {self._port} has ended")

    def refuse_new(self) -> None:
        """Close the relay. The pool has seen to it that no exchange is in progress."""
        self._over = True
        if self._relay is not None:
            self._relay.close()

    async def shutdown(self) -> None:
        """Ask the server to end, as an operator would, and give it a while."""
        self._listeners.signal(signal.SIGTERM)
        await self._listeners.gone(self._stop_patience)


def await_free_port(port: int, shared_because: str) -> None:
    """Wait until a port of the machine is free. Raises `CannotServe` when it stays taken."""
    deadline = time.monotonic() + TAKEN_PATIENCE
    while not _is_free(port):
        if time.monotonic() > deadline:
            raise CannotServe(
                f"port {port} is taken on this machine, whose network containers share: {shared_because}. "
                "Free the port, or let the function use another one"
            )
        time.sleep(POLL)


def _is_free(port: int) -> bool:
    return not _is_taken(socket.AF_INET, "0.0.0.0", port) and not (
        socket.has_ipv6 and _is_taken(socket.AF_INET6, "::", port)
    )


def _is_taken(family: socket.AddressFamily, host: str, port: int) -> bool:
    with contextlib.ExitStack() as stack:
        try:
            probe = stack.enter_context(socket.socket(family))
        except OSError:  # a kernel without IPv6
            return False
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family is socket.AF_INET6:
            probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            return error.errno == errno.EADDRINUSE or family is socket.AF_INET
    return False


def anything_runs(besides: int | None) -> bool:
    """Whether a child process of the container other than `besides`, or another thread, is alive."""
    if not Path("/proc/self/stat").exists() or threading.active_count() > 1:
        return True
    return any(_is_alive(pid) for pid in processes.own_children() - {besides})


def _is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in "ZX"


class _Blocked(SystemExit):
    """What event loops let through, in whose middle it is raised."""


@contextlib.contextmanager
def refusing_to_block(name: str, port: int, patience: float) -> Iterator[None]:
    """Raise `CannotServe` in the block's stead when the port accepts connections while the block goes on.

    That is a function which runs its server instead of starting it, and never returns. Looked at every `patience`
    seconds, and believed the second time: a function may wait until its server is up, and try it, before it returns.
    """
    seen = False

    def look(number: int, frame: types.FrameType | None) -> None:
        nonlocal seen
        accepts = accepting_host(port) is not None
        if accepts and seen:
            raise _Blocked
        seen = accepts

    former = signal.signal(signal.SIGALRM, look)
    signal.setitimer(signal.ITIMER_REAL, patience, patience)
    try:
        yield
    except _Blocked:
        raise CannotServe(
            f"{name} runs its server instead of starting it: the server is up, and the function has not returned. "
            "Start it with subprocess.Popen, or in a thread; raise the startup_timeout of @web_server if it only "
            "does something else with the running server that takes longer"
        ) from None
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, former)
