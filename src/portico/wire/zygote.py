"""What passes between a process sandbox and the zygotes it keeps, as frames over a socket pair.

A `Fork` frame carries three file descriptors (SCM_RIGHTS) in this order: the container's end of its control
socket, its standard output, its standard error.
"""

from __future__ import annotations

from typing import Union

import msgspec


class Fork(msgspec.Struct, frozen=True, tag="fork", kw_only=True):
    """Fork a container. What it is to become follows over its control socket."""

    container_id: str


class Signal(msgspec.Struct, frozen=True, tag="signal", kw_only=True):
    """Send `signum` to a container's leader; SIGKILL goes to its whole process group."""

    container_id: str
    signum: int


ToZygote = Union[Fork, Signal]


class Booted(msgspec.Struct, frozen=True, tag="booted", kw_only=True):
    """Everything is imported: forks are fast from here on."""


class Forked(msgspec.Struct, frozen=True, tag="forked", kw_only=True):
    """The container runs as process `pid`."""

    container_id: str
    pid: int


class ForkFailed(msgspec.Struct, frozen=True, tag="fork_failed", kw_only=True):
    """The machine refused another process."""

    container_id: str
    message: str


class Exited(msgspec.Struct, frozen=True, tag="exited", kw_only=True):
    """The container's leader ended with `status` (negative for a signal) and nothing of it is left."""

    container_id: str
    status: int


FromZygote = Union[Booted, Forked, ForkFailed, Exited]
