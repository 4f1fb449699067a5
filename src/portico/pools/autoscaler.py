"""How many containers a pool should have: a pure function from a snapshot and the time to a decision.

The rule is Knative's, on concurrency alone: enough containers that each carries its target of inputs, bounded on
both sides. Up at once; down one by one when a container has been idle for the whole scale-down window.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from portico.wire.manifest import Scaling


@dataclass(frozen=True, slots=True)
class Idle:
    """A ready container without inputs, since when (seconds on the pool's clock)."""

    container_id: str
    since: float


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A pool at one moment. `live` counts starting and ready containers, `idle` is part of it."""

    running: int
    waiting: int
    live: int
    idle: Sequence[Idle]


@dataclass(frozen=True, slots=True)
class Decision:
    """Start this many, stop these, and look again at `wake_at` (None: when something happens)."""

    start: int = 0
    stop: Sequence[str] = ()
    wake_at: float | None = None


def target(scaling: Scaling) -> int:
    """Inputs one container should carry."""
    return scaling.target_inputs or scaling.max_inputs


def desired(scaling: Scaling, inputs: int) -> int:
    """Containers wanted for so many running and waiting inputs."""
    wanted = math.ceil(inputs / target(scaling))
    if inputs:
        wanted += scaling.buffer_containers
    wanted = max(wanted, scaling.min_containers)
    if scaling.max_containers is not None:
        wanted = min(wanted, scaling.max_containers)
    return wanted


def headroom(scaling: Scaling, live: int) -> float:
    """Most inputs that `live` containers carry without `decide` wanting more of them."""
    if scaling.max_containers is not None and live >= scaling.max_containers:
        return math.inf
    return float(max(live - scaling.buffer_containers, 0) * target(scaling))


def decide(scaling: Scaling, pool: Snapshot, now: float) -> Decision:
    """What to do about `pool` now. Never stops a container that has an input."""
    wanted = desired(scaling, pool.running + pool.waiting)
    if pool.live < wanted:
        return Decision(start=wanted - pool.live)
    # Idle-longest first, so that the ones with warm caches stay.
    surplus = sorted(pool.idle, key=lambda idle: idle.since)[: pool.live - wanted]
    due = [idle.container_id for idle in surplus if idle.since + scaling.scaledown_window <= now]
    later = [idle.since + scaling.scaledown_window for idle in surplus[len(due) :]]
    return Decision(stop=due, wake_at=min(later, default=None))
