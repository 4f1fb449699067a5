"""Counters of a pool, for whoever looks."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PoolStats:
    """Counters of a pool at one moment."""

    running: int
    waiting: int
    starting: int
    ready: int
