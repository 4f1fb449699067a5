"""Open files: how many this process may have, and how many of them connections may take."""

from __future__ import annotations

import contextlib
import errno
import math
import resource
from typing import Literal, NamedTuple

WANTED = 65_536
MOST_RESERVED = 4096
UPSTREAM_SHARE = 1 / 3  # of what connections may take, where nothing else is asked for
LEAST_UPSTREAM_SHARE = 1 / 10  # idle clients need no container, and busy ones share few


class Shares(NamedTuple):
    """How many connections there may be at once: from clients, and to containers."""

    clients: int
    upstream: int


def raise_limit() -> int:
    """Raise the soft limit of open files as far as is useful and allowed; returns it.

    Every connection and every container takes some; the usual soft limit of 1,024 is soon reached.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = WANTED if hard == resource.RLIM_INFINITY else min(WANTED, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(ValueError, OSError):  # some systems allow less than they say
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
            soft = wanted
    return WANTED if soft == resource.RLIM_INFINITY else soft


def share(limit: int, clients: int | Literal["auto"]) -> Shares:
    """Share `limit` open files out, an eighth kept for containers, builds, the store and the control API.

    Raises OSError where so many `clients` would leave nothing for what they ask.
    """
    available = limit - min(limit // 8, MOST_RESERVED)
    if clients == "auto":
        most = max(1, int(available * (1 - UPSTREAM_SHARE)))
        return Shares(most, available - most)
    if clients > available * (1 - LEAST_UPSTREAM_SHARE):
        needed = math.ceil(clients / (1 - LEAST_UPSTREAM_SHARE))
        needed += min(math.ceil(needed / 7), MOST_RESERVED)
        raise OSError(
            errno.EMFILE,
            f"max_connections {clients} takes {needed} open files, and this process may have {limit}: "
            f"raise its limit (ulimit -n, or LimitNOFILE= of its service), or lower max_connections",
        )
    return Shares(clients, available - clients)
