"""The pools of one function: one, or for a parametrized class one for each combination of values."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

from portico.pools import parameters
from portico.pools.member import STOP_GRACE
from portico.pools.pool import Pool
from portico.wire.manifest import FunctionSpec, ParameterValue

MAX_POOLS = 1000  # live pools of one class (SPEC §5)


class PoolSource(Protocol):
    """What finds the pool of a request by its query string."""

    def for_query(self, query: bytes) -> Pool:
        """The pool for this query. Raises `BadParameter`."""


class PoolFamily:
    """Makes pools as values appear and forgets the idle-longest beyond `MAX_POOLS`."""

    def __init__(
        self, function: FunctionSpec, make_pool: Callable[[Mapping[str, ParameterValue]], Pool]
    ) -> None:
        self.function = function
        self._make_pool = make_pool
        self._pools: dict[tuple[ParameterValue, ...], Pool] = {}  # least recently asked for first
        self._leaving: set[Pool] = set()
        self._only: Pool | None = None
        if not function.parameters:
            self._only = self._pools[()] = make_pool({})

    def for_query(self, query: bytes) -> Pool:
        """The pool for the parameters in `query`. Raises `BadParameter`."""
        if self._only is not None:
            return self._only
        return self._pool(parameters.from_query(self.function.parameters, query))

    def for_values(self, values: Mapping[str, ParameterValue]) -> Pool:
        """The pool for these values, defaults filled in. Raises `BadParameter`."""
        if self._only is not None:
            return self._only
        return self._pool(parameters.complete(self.function.parameters, values))

    def _pool(self, values: dict[str, ParameterValue]) -> Pool:
        key = tuple(values.values())
        pool = self._pools.pop(key, None)
        if pool is None:
            pool = self._make_pool(values)
            pool.start()
            self._make_room()
        self._pools[key] = pool
        return pool

    def _make_room(self) -> None:
        while len(self._pools) >= MAX_POOLS:
            idle = next((k for k, p in self._pools.items() if not p.busy), next(iter(self._pools)))
            pool = self._pools.pop(idle)
            self._leaving.add(pool)
            pool.stop(STOP_GRACE)
        self._leaving = {pool for pool in self._leaving if pool.members}

    @property
    def pools(self) -> tuple[Pool, ...]:
        """Live pools and those whose last containers are ending."""
        return (*self._pools.values(), *self._leaving)

    def values_in_use(self) -> list[tuple[dict[str, ParameterValue], Pool]]:
        """The parameter values that have pools, with them."""
        names = [spec.name for spec in self.function.parameters]
        return [(dict(zip(names, key, strict=True)), pool) for key, pool in self._pools.items()]
