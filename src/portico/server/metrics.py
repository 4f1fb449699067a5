"""Where the numbers of ``/metrics`` come from."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterable

from portico.control.meters import Exposition
from portico.gateway.gateway import Gateway
from portico.pools.tally import Subject, Tallies
from portico.server.exposition import Load, Snapshot, expose
from portico.server.live import LiveApp, LiveApps


class Metrics:
    """`portico.control.meters.Meters` over a gateway and the apps behind it."""

    def __init__(self, *, version: str, gateway: Gateway, apps: LiveApps, tallies: Tallies) -> None:
        self._version = version
        self._gateway = gateway
        self._apps = apps
        self._tallies = tallies

    async def exposition(self, accept: str) -> Exposition:
        """See `Meters.exposition`."""
        # The copy is quick and no request comes between its numbers; the text is not, and has a thread.
        return await asyncio.to_thread(expose, self.snapshot(), accept)

    def snapshot(self) -> Snapshot:
        """The numbers now."""
        gateway = self._gateway
        return Snapshot(
            version=self._version,
            tallies=[gateway.ledger.strays.copy(), *self._tallies.copy()],
            loads=loads(self._apps.live),
            client_connections=gateway.connections,
            websockets=gateway.websockets,
            upstream_idle=gateway.dialer.idle,
            upstream_busy=gateway.dialer.open - gateway.dialer.idle,
            loop_lag=gateway.lag.copy(),
            log_lines_dropped=gateway.ledger.lines_dropped,
        )


def loads(apps: Iterable[LiveApp]) -> dict[Subject, Load]:
    """What each function has: pools of all parameter values, and of versions that are leaving, together."""
    by_subject: defaultdict[Subject, Load] = defaultdict(Load)
    for app in apps:
        for name, family in app.families.items():
            load = by_subject[app.subject(name)]
            for pool in family.pools:
                stats = pool.stats
                load.waiting += stats.waiting
                load.running += stats.running
                load.containers.update(member.state.value for member in pool.members)
    return dict(by_subject)
