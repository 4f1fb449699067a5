"""Which server a command talks to."""

from __future__ import annotations

from contextlib import suppress

from portico.client import Client, connect
from portico.client.discovery import find_server, running_embedded, state_dir
from portico.exception import InvalidError
from portico.wire.api import ServerInfo
from portico.wire.local import ServerRecord

NOTED = "noted-no-isolation"


def connect_for_looking() -> Client:
    """The server that is configured or runs here; without one, that which a running ``portico serve`` embeds."""
    record = find_server() or _only_embedded()
    return Client(record.url, record.token) if record else connect()


def _only_embedded() -> ServerRecord | None:
    embedded = running_embedded(state_dir())
    if len(embedded) > 1:
        pids = ", ".join(str(record.pid) for record in embedded)
        raise InvalidError(
            f"several `portico serve` or `portico run` processes have a server of their own ({pids})\n"
            "Run them against one server to list them together: `portico server start`."
        )
    return embedded[0] if embedded else None


def isolation_note(info: ServerInfo) -> str | None:
    """What a user must know once about the process sandbox; None where it was said before."""
    if info.sandbox != "process":
        return None
    noted = state_dir() / NOTED
    if noted.exists():
        return None
    with suppress(OSError):  # a folder that cannot be written means the note comes again
        noted.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        noted.touch(mode=0o600)
    return (
        "note: containers run as processes of this machine, without isolation: "
        "run only code you trust"
    )
