"""Moves a container into a network namespace of its own (namespaces(7), user_namespaces(7)).

The helper that the sandbox has found makes the namespace and runs a command in there, which waits for as long as
this process lives: it reads a pipe whose other end is here. The container joins that command's namespaces, so it
needs no rights of its own, and nothing of the helper can outlive it.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import select
import signal
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import IO

from portico.runner.failures import CannotServe
from portico.wire.container import Network

CLONE_NEWNS = 0x00020000  # <linux/sched.h>
CLONE_NEWUSER = 0x10000000
CLONE_NEWNET = 0x40000000
MS_BIND = 0x1000  # <linux/mount.h>
MS_REC = 0x4000
MS_SLAVE = 0x80000
RESOLV_CONF = Path("/etc/resolv.conf")
HOLDER = ("sh", "-c", "echo inside; exec cat >/dev/null")
PATIENCE = 10.0  # seconds


def enter_own_network(network: Network) -> subprocess.Popen[bytes]:
    """Join a new network namespace; to be called while this process has one thread.

    Returns the helper, whose standard input must stay open for as long as the network is needed. Raises
    `CannotServe`.
    """
    # A file, because a pipe that nobody reads would one day stop whoever writes to it.
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(
            [*network.helper, *HOLDER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=said,
            start_new_session=True,  # signals to the container's group are for the user's server
        )
        try:
            _await_holder(process, said)
            _join(_holder(process.pid), network.resolver)
        except OSError as error:
            process.kill()
            raise CannotServe(f"the container cannot have a network of its own: {error}") from error
    return process


def _await_holder(process: subprocess.Popen[bytes], said: IO[bytes]) -> None:
    assert process.stdout is not None
    ready, _, _ = select.select([process.stdout], [], [], PATIENCE)
    if ready and process.stdout.readline():
        return
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)  # with what it runs
    process.wait()
    said.seek(0)
    words = said.read().decode("utf-8", "replace").strip()
    raise OSError(words or f"its helper was not ready within {PATIENCE:g} seconds")


def watch(
    helper: subprocess.Popen[bytes], loop: asyncio.AbstractEventLoop, ended: Callable[[str], None]
) -> None:
    """Call `ended` with the reason when the helper has ended, and with it the way out.

    What it says meanwhile is read and let go, so that it never waits for somebody to read it.
    """
    assert helper.stdout is not None
    output = helper.stdout.fileno()  # the holder writes elsewhere, so this is the helper's alone

    def said() -> None:
        if not os.read(output, 65536):
            loop.remove_reader(output)
            ended("the container's network has ended")

    loop.add_reader(output, said)


def _holder(helper: int) -> int:
    """The command that the helper runs in the namespaces; it is the helper's only child."""
    children = Path(f"/proc/{helper}/task/{helper}/children").read_text().split()
    if not children:
        raise OSError("its helper has ended")
    return int(children[0])


def _join(holder: int, resolver: str) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    user, group = os.geteuid(), os.getegid()
    theirs = f"/proc/{holder}/ns"
    network = os.open(f"{theirs}/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        if os.stat(f"{theirs}/user").st_ino != os.stat("/proc/self/ns/user").st_ino:
            _enter_user_namespace(libc, f"{theirs}/user")
        _checked(libc.setns, network, CLONE_NEWNET)
    finally:
        os.close(network)
    own_names = reachable_names(RESOLV_CONF, resolver)
    if own_names is not None:
        _mount_names(libc, own_names)
    if os.geteuid() != user:
        _become_again(libc, user, group)


def _enter_user_namespace(libc: ctypes.CDLL, path: str) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        _checked(libc.setns, descriptor, CLONE_NEWUSER)
    finally:
        os.close(descriptor)


def _become_again(libc: ctypes.CDLL, user: int, group: int) -> None:
    """The user is root in the helper's namespace; in one more it is itself again, as programs may insist."""
    _checked(libc.unshare, CLONE_NEWUSER)
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"{user} 0 1")
    Path("/proc/self/gid_map").write_text(f"{group} 0 1")


def reachable_names(resolv_conf: Path, resolver: str) -> str | None:
    """What resolv.conf(5) is to say in a container: `resolver` where the machine's is on its loopback, else None.

    That is a resolver of the machine itself (systemd-resolved, dnsmasq), which the container's loopback lacks.
    A machine without the file has nothing that another could be mounted over, and nothing to lose by that.
    """
    try:
        lines = resolv_conf.read_text("utf-8", "replace").splitlines()
    except OSError:
        return None
    fields = [line.split() for line in lines]
    servers = [f[1] for f in fields if len(f) > 1 and f[0] == "nameserver"]
    if any(not server.startswith("127.") and server != "::1" for server in servers):
        return None
    kept = [line for line, f in zip(lines, fields, strict=True) if f and f[0] != "nameserver"]
    return "\n".join([f"nameserver {resolver}", *kept, ""])


def _mount_names(libc: ctypes.CDLL, text: str) -> None:
    """Put `text` in the place of resolv.conf, for this process and its children alone."""
    _checked(libc.unshare, CLONE_NEWNS)
    _checked(libc.mount, b"none", b"/", None, MS_REC | MS_SLAVE, None)
    with tempfile.NamedTemporaryFile("w") as file:
        file.write(text)
        file.flush()
        os.chmod(file.name, 0o644)
        _checked(libc.mount, os.fsencode(file.name), bytes(RESOLV_CONF), None, MS_BIND, None)


def _checked(call: Callable[..., int], *arguments: object) -> None:
    if call(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
