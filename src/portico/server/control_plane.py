"""Control and its API on a socket: the heavy half of a server, in a module of its own so that it is imported late."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path

from portico.control.naming import Site
from portico.control.proxy_tokens import ProxyGate
from portico.control.service import Control
from portico.gateway.gateway import Gateway
from portico.images.base import ImageBuilder
from portico.pools.tally import Tallies
from portico.server.api_server import ApiServer, Listener
from portico.server.live import LiveApps
from portico.server.metrics import Metrics
from portico.wire.api import ServerInfo
from portico.wire.container import LogLine


class ControlPlane:
    """The control side of one server and its HTTP API."""

    def __init__(
        self,
        *,
        state_dir: Path,
        site: Site,
        info: Callable[[], ServerInfo],
        builder: ImageBuilder,
        gate: ProxyGate,
        gateway: Gateway,
        apps: LiveApps,
        tallies: Tallies,
        embedded: bool,
    ) -> None:
        self._embedded = embedded
        release = version("portico")
        self._control = Control(
            state_dir=state_dir,
            site=site,
            version=release,
            info=info,
            builder=builder,
            runtime=apps,
            gate=gate,
            meters=Metrics(version=release, gateway=gateway, apps=apps, tallies=tallies),
            embedded=embedded,
        )
        self.log: Callable[[LogLine], None] = self._control.log_sink
        self.blob: Callable[[str], Path] = self._control.blob
        self._server: ApiServer | None = None

    async def start(self, listeners: Sequence[Listener]) -> str:
        """Open the store, bring deployed apps back, take requests. Returns a token for this machine's clients."""
        await self._control.start()
        self._server = ApiServer(self._control.api, listeners)
        return self._control.issue_token("embedded" if self._embedded else "local")

    async def end_streams(self) -> None:
        """Take no further requests and end the open answers, which would keep the API from ending."""
        await self._control.end_streams()
        if self._server is not None:
            await self._server.close()

    async def close(self) -> None:
        """Write what is pending and close the store."""
        await self._control.close()
