"""Finding the server: environment, config file, then the one that runs on this machine (SPEC §3).

A running local server leaves ``client.json`` in its state folder, one embedded in a CLI process
``embedded-<pid>.json``; a record counts only while its process lives and answers with that pid.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from portico import exception
from portico.wire import local
from portico.wire.local import LOCAL_RECORD, ServerRecord, config_path
from portico.wire.names import MAIN, environment_problem

ENVIRONMENT_VARIABLE = "PORTICO_ENVIRONMENT"
PROBE_TIMEOUT = 2.0  # seconds a local server has to prove that it is the one on record


def state_dir(env: Mapping[str, str] = os.environ) -> Path:
    """The state folder: ``PORTICO_STATE_DIR``, ``state_dir`` of the config file, else the user's data folder."""
    if not env.get("PORTICO_STATE_DIR"):
        server = read_config(config_path(env)).get("server")
        if isinstance(server, dict) and (chosen := server.get("state_dir")):
            return Path(chosen).expanduser()
    return local.state_dir(env)


def read_config(path: Path) -> dict[str, Any]:
    """The config file as nested dictionaries; empty where there is none. Raises `InvalidError`."""
    try:
        text = path.read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise exception.InvalidError(f"cannot read the config file {path}: {error}") from error
    if sys.version_info < (3, 11):
        raise exception.InvalidError(
            f"the config file {path} needs Python 3.11 or later to be read\n"
            "Set PORTICO_SERVER_URL, PORTICO_TOKEN and PORTICO_ENVIRONMENT instead."
        )
    import tomllib

    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise exception.InvalidError(f"the config file {path} is not TOML: {error}") from error


def configured(env: Mapping[str, str] = os.environ) -> ServerRecord | None:
    """The server that the environment or the config file names, the environment winning by name."""
    url, token = env.get("PORTICO_SERVER_URL"), env.get("PORTICO_TOKEN")
    path = config_path(env)
    if not (url and token):
        config = read_config(path)
        # A token belongs to one server: the file's is not sent to a URL from elsewhere.
        if url in (None, "", config.get("server_url")):
            url, token = config.get("server_url"), token or config.get("token")
    if not url:
        return None
    if not str(url).startswith(("http://", "https://")):
        raise exception.InvalidError(
            f"server URL {url!r} is not an http:// or https:// URL\n"
            f"Correct PORTICO_SERVER_URL, or server_url in {path}."
        )
    if not token or not isinstance(token, str):
        raise exception.AuthError(
            f"there is no token for the server {url}\n"
            "Set PORTICO_TOKEN (or `portico config set token …`) to one made by `portico token create`."
        )
    return ServerRecord(url=url.rstrip("/"), token=token)


def environment(env: Mapping[str, str] = os.environ) -> str:
    """The environment in which apps are looked for: ``PORTICO_ENVIRONMENT``, the config file's, else ``main``.

    Containers have the variable, so that what runs in them finds the apps of its own environment. Raises
    `InvalidError`.
    """
    name = configured_environment(env)
    if problem := environment_problem(name):
        raise exception.InvalidError(
            f"{problem}\nCorrect {ENVIRONMENT_VARIABLE}, or environment in {config_path(env)}."
        )
    return name


def configured_environment(env: Mapping[str, str] = os.environ) -> str:
    """The same as it was written, whether or not it can be one."""
    return str(
        env.get(ENVIRONMENT_VARIABLE) or read_config(config_path(env)).get("environment") or MAIN
    )


def running_local(folder: Path) -> ServerRecord | None:
    """The server that runs on this machine with the state folder `folder`, if it answers."""
    record = read_record(folder / LOCAL_RECORD)
    return record if record and answers(record) else None


def running_embedded(folder: Path) -> list[ServerRecord]:
    """Servers embedded in other processes of this machine that answer."""
    records = (read_record(path) for path in sorted(folder.glob("embedded-*.json")))
    return [record for record in records if record and answers(record)]


def find_server(env: Mapping[str, str] = os.environ) -> ServerRecord | None:
    """The server to use, or None where nothing is configured and none runs."""
    return configured(env) or running_local(state_dir(env))


def read_record(path: Path) -> ServerRecord | None:
    """The record in `path` if it is whole and its process lives."""
    try:
        record = msgspec.json.decode(path.read_bytes(), type=ServerRecord)
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
        return None
    return record if record.pid is not None and process_lives(record.pid) else None


def process_lives(pid: int) -> bool:
    """Whether process `pid` runs; a zombie that nobody has reaped does not."""
    if pid <= 0:
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return True
    return stat.rpartition(b")")[2].split()[0] != b"Z"


def answers(record: ServerRecord) -> bool:
    """Whether the server on record takes its token and is the process it says it is.

    A pid can be another program's after a crash, and so can a port; only the answer tells.
    """
    from http.client import HTTPConnection, HTTPException
    from urllib.parse import urlsplit

    from portico.wire.api import ServerInfo

    where = urlsplit(record.url)
    connection = HTTPConnection(where.hostname or "", where.port, timeout=PROBE_TIMEOUT)
    try:
        connection.request("GET", "/v1/server", headers={"authorization": f"Bearer {record.token}"})
        info = msgspec.json.decode(connection.getresponse().read(), type=ServerInfo)
    except (OSError, HTTPException, msgspec.MsgspecError, UnicodeDecodeError):
        return False
    finally:
        connection.close()
    return info.pid == record.pid
