"""Where the numbers of ``/metrics`` come from."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable
from typing import TypeVar

from portico.control.meters import Exposition
from portico.gateway.gateway import Gateway
from portico.pools.tally import Subject, Tallies
from portico.server.exposition import Load, Snapshot, expose
from portico.server.live import LiveApp, LiveApps

AT_ONCE = 50  # functions or apps looked at before requests have their turn again

T = TypeVar("T")


class Metrics:
    """`portico.control.meters.Meters` over a gateway and the apps behind it."""

    def __init__(self, *, version: str, gateway: Gateway, apps: LiveApps, tallies: Tallies) -> None:
        self._version = version
        self._gateway = gateway
        self._apps = apps
        self._tallies = tallies

    async def exposition(self, accept: str) -> Exposition:
        """See `Meters.exposition`."""
        return await asyncio.to_thread(expose, await self._snapshot(), accept)

    async def _snapshot(self) -> Snapshot:
        """The numbers now: those of one function are of one moment, and between functions requests go on."""
        gateway = self._gateway
        loads: defaultdict[Subject, Load] = defaultdict(Load)
        async for app in in_turns(self._apps.live):
            add_loads(loads, app)
        tallies = [tally.copy() async for tally in in_turns(self._tallies.all)]
        return Snapshot(
            version=self._version,
            tallies=[gateway.ledger.strays.copy(), *tallies],
            loads=dict(loads),
            client_connections=gateway.connections,
            websockets=gateway.websockets,
            upstream_idle=gateway.dialer.idle,
            upstream_busy=gateway.dialer.open - gateway.dialer.idle,
            loop_lag=gateway.lag.copy(),
            log_lines_dropped=gateway.ledger.lines_dropped,
        )


async def in_turns(items: Iterable[T]) -> AsyncIterator[T]:
    """`items` as they are now; everything else on the loop has its turn after each `AT_ONCE` of them."""
    for number, item in enumerate(tuple(items), 1):
        yield item
        if number % AT_ONCE == 0:
            await asyncio.sleep(0)


def add_loads(loads: defaultdict[Subject, Load], app: LiveApp) -> None:
    """Add what the functions of `app` have: pools of all parameter values are one, and so are versions that leave."""
    for name, family in app.families.items():
        load = loads[app.subject(name)]
        for pool in family.pools:
            stats = pool.stats
            load.waiting += stats.waiting
            load.running += stats.running
            load.containers.update(member.state.value for member in pool.members)
