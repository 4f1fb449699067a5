"""The pools of one function: one, or for a parametrized class one for each combination of values."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Protocol

from portico.pools import autoscaler
from portico.pools.errors import BadParameter, PoolError, PoolsInUse, PoolStopped
from portico.pools.parameters import Parameters, Values
from portico.pools.pool import Pool
from portico.wire.manifest import FunctionSpec, ParameterValue

MAX_POOLS = 1000  # live pools of one class (SPEC §5)
MAX_QUERIES = 4096  # remembered query strings of one class
LONGEST_QUERY = 256  # bytes of one that is remembered


class PoolSource(Protocol):
    """What finds the pool of a request by its query string."""

    def for_query(self, query: bytes) -> Pool:
        """The pool for this query. Raises `BadParameter`, `PoolsInUse`, `PoolStopped`."""


class PoolFamily:
    """Makes pools as values appear. Over `max_pools` the one that has been idle longest goes.

    Only idle pools go: where every pool has inputs, new values are refused.
    """

    def __init__(
        self,
        function: FunctionSpec,
        make_pool: Callable[[Mapping[str, ParameterValue]], Pool],
        *,
        max_pools: int = MAX_POOLS,
        refusal: PoolError | None = None,
    ) -> None:
        """With a `refusal` there are no pools, and it is raised for whoever asks for one."""
        self.function = function
        self._make_pool = make_pool
        self._max_pools = max_pools
        self._parameters = Parameters(function.parameters)
        self._pools: dict[Values, Pool] = {}
        # Reading a query takes a good part of the time that the gateway has for a request: it is done once.
        self._by_query: dict[bytes, Pool] = {}
        self._leaving: set[Pool] = set()
        self._replaced = False
        self._successor: PoolFamily | None = None
        self._only: Pool | None = None
        self._refusal = refusal
        if not function.parameters and refusal is None:
            self._only = self._pools[()] = make_pool({})

    # -- finding a pool

    def for_query(self, query: bytes) -> Pool:
        """The pool for the parameters in `query`. Raises `BadParameter`, `PoolsInUse`, `PoolStopped`."""
        if self._only is not None:
            return self._only
        pool = self._by_query.get(query)
        return pool if pool is not None else self._look_up(query)

    def for_values(self, values: Mapping[str, ParameterValue]) -> Pool:
        """The pool for these values, defaults filled in. Raises like `for_query`."""
        return self._pool(self._parameters.from_values(values))

    def _look_up(self, query: bytes) -> Pool:
        if self._replaced:
            return self._heir().for_query(query)
        pool = self._pool(self._parameters.from_query(query))
        if len(query) <= LONGEST_QUERY:
            if len(self._by_query) >= MAX_QUERIES:
                self._by_query.clear()
            self._by_query[query] = pool
        return pool

    def _pool(self, values: Values) -> Pool:
        if self._refusal is not None:
            raise self._refusal
        if self._replaced:
            return self._heir().for_successor_of(self, values)
        pool = self._pools.get(values)
        if pool is None:
            self._make_room()
            pool = self._pools[values] = self._make_pool(self._parameters.named(values))
            pool.start()
        return pool

    def _make_room(self) -> None:
        if len(self._pools) < self._max_pools:
            return
        # Looking through all of them is little beside the start of a container, which follows.
        idle = (values for values, pool in self._pools.items() if not pool.busy)
        longest = min(idle, key=lambda values: self._pools[values].idle_since, default=None)
        if longest is None:
            raise PoolsInUse(self._max_pools)
        pool = self._pools.pop(longest)
        self._by_query.clear()
        self._leaving.add(pool)
        # An input that has been told to go there and has not come yet finds its way back.
        pool.hand_over(partial(self._pool, longest), 0.0)

    # -- life

    def start(self) -> None:
        """Begin to keep `min_containers`: in the pools there are, and in that of the defaults."""
        if (
            self._refusal is None
            and self.function.scaling.min_containers
            and self._parameters.all_have_defaults
        ):
            self.for_values({})
        for pool in self._pools.values():
            pool.start()

    def for_successor_of(self, older: PoolFamily, values: Values) -> Pool:
        """The pool that takes over from the one with `values` in the `older` version. Raises like `for_query`."""
        return self._pool(self._parameters.carried_over(older._parameters, values))

    def wanted_after(self, older: PoolFamily) -> dict[Pool, int]:
        """How many containers to have ready for the work that the `older` version has now, by pool.

        Values whose containers never got ready say nothing about this version, and are left to requests.
        """
        wanted: dict[Pool, int] = {}
        if self._refusal is not None:
            return wanted
        for values, pool in older._pools.items():
            if not (pool.stats.ready if older._only is None else pool.members):
                continue
            try:
                successor = self.for_successor_of(older, values)
            except BadParameter:  # this version does not take these values
                continue
            wanted[successor] = wanted.get(successor, 0) + _needed(pool)
        return wanted

    def hand_over(self, successor: PoolFamily | None, socket_grace: float) -> None:
        """Leave the field to the next version of the class, or to none; see `Pool.hand_over`."""
        self._leave_to(successor)
        for values, pool in self._pools.items():
            pool.hand_over(partial(self._pool, values), socket_grace)

    def stop(self, grace: float) -> None:
        """End every pool; see `Pool.stop`."""
        self._leave_to(None)
        for pool in self.pools:
            pool.stop(grace)

    def _leave_to(self, successor: PoolFamily | None) -> None:
        self._replaced = True
        self._successor = successor
        self._by_query.clear()

    def _heir(self) -> PoolFamily:
        if self._successor is None:
            raise PoolStopped
        return self._successor

    # -- what there is

    @property
    def pools(self) -> tuple[Pool, ...]:
        """Live pools and those whose last containers are ending."""
        self._leaving = {pool for pool in self._leaving if pool.members}
        return (*self._pools.values(), *self._leaving)


def _needed(pool: Pool) -> int:
    stats = pool.stats
    busy = autoscaler.desired(pool.scaling, stats.running + stats.waiting)
    return max(1, min(busy, stats.ready))
