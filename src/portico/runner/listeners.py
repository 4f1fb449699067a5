"""Which processes of a container listen on a TCP port, and when they have ended (proc_pid_net(5), pidfd_open(2))."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

from portico.runner import processes

LISTEN = "0A"  # <net/tcp_states.h>
TABLES = ("/proc/self/net/tcp", "/proc/self/net/tcp6")
HOSTS = ("127.0.0.1", "::1")
PATIENCE = 0.2  # seconds; on loopback only a full backlog makes a connection wait


def accepting_host(port: int) -> str | None:
    """The loopback address at which `port` accepts connections, if one does."""
    for host in HOSTS:
        with contextlib.suppress(OSError), socket.create_connection((host, port), PATIENCE):
            return host
    return None


def is_listened_on(port: int) -> bool:
    """Whether a socket listens on `port`. One whose backlog is full does: its server is busy, not gone."""
    if Path(TABLES[0]).exists():
        return bool(_listening(port))
    return not all(_refused(host, port) for host in HOSTS)


def _refused(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), PATIENCE).close()
    except TimeoutError:
        return False
    except OSError:
        return True
    return False


class Listeners:
    """The processes below this one that listen on `port`, each watched until its end.

    Only those: on a shared network a stranger may listen on the port at another address, and is none of ours.

    `ended` is called after one of them has ended, on the event loop. Where the system has no process file
    descriptors, or no /proc, nothing is watched.
    """

    def __init__(self, port: int, ended: Callable[[], None]) -> None:
        self._port = port
        self._ended = ended
        self._watched: dict[int, int] = {}  # process id → descriptor

    def watch(self) -> None:
        """Watch those that listen now."""
        if not hasattr(os, "pidfd_open"):
            return
        loop = asyncio.get_running_loop()
        for pid in _holders(_listening(self._port)) - self._watched.keys():
            try:
                descriptor = os.pidfd_open(pid)
            except OSError:  # ended just now, or an old kernel
                continue
            self._watched[pid] = descriptor
            loop.add_reader(descriptor, self._gone, pid)

    def _gone(self, pid: int) -> None:
        self._forget(pid)
        self._ended()

    def signal(self, number: int) -> None:
        """Send a signal to each of them."""
        for pid in self._watched:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, number)

    async def gone(self, seconds: float) -> None:
        """Wait until all have ended, for `seconds` at the most."""
        loop = asyncio.get_running_loop()
        over = asyncio.Event()

        def gone(pid: int) -> None:
            self._forget(pid)
            if not self._watched:
                over.set()

        for pid, descriptor in self._watched.items():
            loop.add_reader(descriptor, gone, pid)
        if self._watched:
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(over.wait(), seconds)
        self.close()

    def close(self) -> None:
        """Watch nothing any more."""
        for pid in tuple(self._watched):
            self._forget(pid)

    def _forget(self, pid: int) -> None:
        descriptor = self._watched.pop(pid)
        asyncio.get_running_loop().remove_reader(descriptor)
        os.close(descriptor)


def _listening(port: int) -> set[str]:
    """Inodes of the sockets that listen on `port` in this process's network namespace."""
    inodes = set()
    for table in TABLES:
        with contextlib.suppress(OSError):
            for line in Path(table).read_text().splitlines()[1:]:
                fields = line.split()
                if fields[3] == LISTEN and int(fields[1].rpartition(":")[2], 16) == port:
                    inodes.add(fields[9])
    return inodes


def _holders(inodes: set[str]) -> set[int]:
    """Processes of the container, but for its leader, that have one of these sockets open."""
    wanted = {f"socket:[{inode}]" for inode in inodes}
    if not wanted:
        return set()
    return {pid for pid in processes.descendants() if not wanted.isdisjoint(_open_files(pid))}


def _open_files(pid: int) -> Iterator[str]:
    folder = f"/proc/{pid}/fd"
    with contextlib.suppress(OSError):  # another user's, or ended meanwhile
        for name in os.listdir(folder):
            with contextlib.suppress(OSError):
                yield os.readlink(f"{folder}/{name}")
