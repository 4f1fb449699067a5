"""The client a process uses unless told otherwise."""

from __future__ import annotations

import threading

from portico import exception
from portico.client.blocking import Client
from portico.client.discovery import find_server


def connect() -> Client:
    """A client of the server that is configured or runs on this machine. Raises `ConnectionError`."""
    record = find_server()
    if record is None:
        raise exception.ConnectionError(
            "no Portico server is configured and none runs on this machine\n"
            "Start one with `portico server start`, or set PORTICO_SERVER_URL and PORTICO_TOKEN."
        )
    return Client(record.url, record.token)


class _Current:
    """Holds the process-wide client: what ``f.remote()`` uses when nobody hands it a client."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._client: Client | None = None

    def get(self) -> Client:
        with self._lock:
            if self._client is None:
                self._client = connect()
            return self._client

    def set(self, client: Client | None) -> None:
        with self._lock:
            self._client = client


# The one exception to "no module-level state": user code calls `f.remote()` with no client in hand.
_current = _Current()
default = _current.get
use = _current.set
