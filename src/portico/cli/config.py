"""`portico config`: the config file, and what is in effect."""

from __future__ import annotations

import json as stdlib_json
import os
import re
from pathlib import Path
from typing import Annotated, Any

import typer

from portico.cli.environments import checked
from portico.wire.names import MAIN

app = typer.Typer(help="The config file, and what is in effect.", no_args_is_help=True)

CLIENT_KEYS = ("server_url", "token", "environment")
CLIENT_DEFAULTS = {"environment": MAIN}
MASK = "********"
NO_LIMIT = "none"  # as it is written where it is set
FILES = ("state_dir", "tls_cert", "tls_key", "access_log")


@app.command()
def show(
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Show every setting with its value and where that comes from; tokens are masked."""
    from portico.cli.output import console, print_json
    from portico.client.discovery import read_config
    from portico.wire.local import config_path

    path = config_path()
    settings = effective(read_config(path))
    if json:
        values = {name: {**each, "value": plain(each["value"])} for name, each in settings.items()}
        print_json({"file": str(path), "settings": values})
        return
    out = console()
    width = max(map(len, settings))
    out.print(f"{'config file':<{width}} {path}{'' if path.exists() else ' (does not exist)'}")
    for name, setting in settings.items():
        value = NO_LIMIT if name == "rate_limit" and setting["value"] is None else setting["value"]
        out.print(f"{name:<{width}} {shown(value):<32} {setting['source']}".rstrip())


@app.command("set")
def set_key(
    key: Annotated[str, typer.Argument(metavar="KEY", help="As `config show` names it.")],
    value: Annotated[str, typer.Argument(metavar="VALUE", help="An empty one removes the key.")],
) -> None:
    """Write one setting to the config file."""
    from portico.cli.output import console
    from portico.cli.server import settings_from
    from portico.client.discovery import read_config
    from portico.wire.local import config_path

    if key not in (*CLIENT_KEYS, *server_keys()):
        known = ", ".join((*CLIENT_KEYS, *server_keys()))
        raise typer.BadParameter(f"there is no setting {key!r}; there are: {known}")
    if key == "environment" and value:
        checked(value)
    path = config_path()
    read_config(path)  # a file that is not TOML is the user's to mend first
    table = None if key in CLIENT_KEYS else "server"
    new = typed(value) if table else value
    if value and table:
        accepted = getattr(settings_from({key: new}), key)
        if key in FILES:  # the server may run in another folder
            new = accepted if accepted in ("-", "off") else str(Path(accepted).absolute())
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    write_private(path, with_value(text, table, key, new))
    console().print(f"{'Set' if value else 'Removed'} {key} in {path}.")


def server_keys() -> tuple[str, ...]:
    """Names of the server's settings."""
    from portico.server.config import ServerSettings

    return tuple(ServerSettings.model_fields)


def effective(config: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Every setting's value and source, tokens masked."""
    from portico.cli.server import settings_from

    server = settings_from({})
    of_server = {key.replace("-", "_"): value for key, value in config.get("server", {}).items()}
    settings: dict[str, dict[str, Any]] = {}
    for key in (*CLIENT_KEYS, *server_keys()):
        variable = f"PORTICO_{key.upper()}"
        table = config if key in CLIENT_KEYS else of_server
        source = "config file" if key in table else "default"
        if os.environ.get(variable):
            source = variable
        if key in CLIENT_KEYS:
            value = os.environ.get(variable) or table.get(key) or CLIENT_DEFAULTS.get(key)
        else:
            value = getattr(server, key)
        if key == "token" and value:
            value = MASK
        settings[key] = {"value": value, "source": source}
    return settings


def plain(value: Any) -> str | float | None:
    """A setting's value for JSON: sizes in bytes, times in seconds."""
    if value is None or isinstance(value, (bool, float)):
        return value
    return int(value) if isinstance(value, int) else shown(value)


def shown(value: Any) -> str:
    """A setting's value as people read it."""
    if isinstance(value, (list, tuple)):
        return ", ".join(map(str, value))
    return "" if value is None else str(value)


def typed(text: str) -> str | int | float | bool:
    """A command line's value as the TOML value it looks like."""
    if text in ("true", "false"):
        return text == "true"
    if re.fullmatch(r"-?\d+", text):
        return int(text)
    return float(text) if re.fullmatch(r"-?\d+\.\d+", text) else text


def with_value(text: str, table: str | None, key: str, value: str | float) -> str:
    """The TOML `text` with `key` of `table` (None: the top level) set, all else as it was; empty removes it."""
    line = "" if value == "" else f"{key} = {stdlib_json.dumps(value)}\n"
    if text and not text.endswith("\n"):
        text += "\n"
    begin = 0
    if table is not None:
        head = re.search(rf"^[ \t]*\[[ \t]*{table}[ \t]*\].*\n", text, re.MULTILINE)
        if head is None:
            return text + (f"[{table}]\n{line}" if line else "")
        begin = head.end()
    following = re.compile(r"^[ \t]*\[", re.MULTILINE).search(text, begin)
    end = following.start() if following else len(text)
    # The server reads both spellings of its keys, so either may be there, and both.
    spelled = key.replace("_", "[-_]") if table else key
    present = re.compile(rf"^[ \t]*{spelled}[ \t]*=.*\n", re.MULTILINE)
    found = present.search(text, begin, end)
    at = found.start() if found else end
    return text[:at] + line + present.sub("", text[at:end]) + text[end:]


def write_private(path: Path, text: str) -> None:
    """Replace `path` in one step with a file only its owner reads: it may hold a token."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    new = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(new, path)
