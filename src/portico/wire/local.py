"""How programs of one machine find its server: the state folder, and the records servers leave there."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import msgspec

LOCAL_RECORD = "client.json"
"""Left by the machine's server; one embedded in a CLI process leaves ``embedded-<pid>.json`` instead."""


class ServerRecord(msgspec.Struct, kw_only=True, frozen=True):
    """Where a server takes control requests. `pid` is set for servers of this machine only."""

    url: str
    token: str
    pid: int | None = None
    embedded: bool = False


def record_name(pid: int, *, embedded: bool) -> str:
    """The file name of a server's record in its state folder."""
    return f"embedded-{pid}.json" if embedded else LOCAL_RECORD


def state_dir(env: Mapping[str, str] = os.environ) -> Path:
    """The state folder of this machine's server: ``PORTICO_STATE_DIR``, else the user's data folder."""
    if chosen := env.get("PORTICO_STATE_DIR"):
        return Path(chosen).expanduser()
    data = env.get("XDG_DATA_HOME")
    return (Path(data) if data else Path.home() / ".local" / "share") / "portico"


def config_path(env: Mapping[str, str] = os.environ) -> Path:
    """The config file: ``PORTICO_CONFIG``, else ``portico/config.toml`` in the user's config folder."""
    if chosen := env.get("PORTICO_CONFIG"):
        return Path(chosen).expanduser()
    config = env.get("XDG_CONFIG_HOME")
    return (Path(config) if config else Path.home() / ".config") / "portico" / "config.toml"
