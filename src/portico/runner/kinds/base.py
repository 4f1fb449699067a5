"""The seam between a container and the kinds of web function it serves."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

from portico.runner.inputs import Inputs
from portico.runner.websockets import WebSockets
from portico.wire.container import Address, StartPhase
from portico.wire.manifest import WebSpec


class WebMethod(NamedTuple):
    """One web method to serve. `target` takes no ``self``."""

    name: str
    target: Callable[..., Any]
    web: WebSpec


class Accounts(NamedTuple):
    """The container around an endpoint: where it registers what it works on, and what it has to know.

    `slots` is how many inputs come at once. `server_ended` takes the news that a server the endpoint depends on is
    gone, with the reason: the container ends. `shared_because` says why the container has no network of its own, and
    `network_helper` is the process that keeps the one it has. An `ephemeral` app's containers have little time to end.
    """

    inputs: Inputs
    websockets: WebSockets
    slots: int
    server_ended: Callable[[str], None]
    shared_because: str = ""
    network_helper: int | None = None
    ephemeral: bool = False


class Endpoint(Protocol):
    """One web method being served. The methods are called once each, in this order."""

    startup_phase: StartPhase
    """What a failure of `startup` is a failure of."""

    async def startup(self) -> None:
        """Get ready for requests. Raises the user's exceptions, or `CannotServe`."""

    async def listen(self, path: str) -> Address:
        """Take requests; `path` is free for a unix socket. Returns where to reach it."""

    def refuse_new(self) -> None:
        """Take no new connections; what runs may end."""

    async def shutdown(self) -> None:
        """Undo `startup`. No input runs any more."""


Builder = Callable[[WebMethod, Accounts], Endpoint]
"""Makes the endpoint of a web method: builds the user's app. Raises what the user's code raises."""
