"""Client of the control API, asynchronous and blocking.

Importing this module costs nothing: the HTTP stack is loaded by the first connection.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from portico.client.aio import AsyncClient, AsyncRunningApp
    from portico.client.blocking import Client, RunningApp
    from portico.client.current import connect, default, use
    from portico.client.errors import DeployError

__all__ = [
    "AsyncClient",
    "AsyncRunningApp",
    "Client",
    "DeployError",
    "RunningApp",
    "connect",
    "default",
    "use",
]


def __getattr__(name: str) -> Any:
    from importlib import import_module

    homes = {
        "AsyncClient": "aio",
        "AsyncRunningApp": "aio",
        "Client": "blocking",
        "RunningApp": "blocking",
        "DeployError": "errors",
        "connect": "current",
        "default": "current",
        "use": "current",
    }
    if name not in homes:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{homes[name]}"), name)
