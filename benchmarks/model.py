"""What a suite is, and what running it gives."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from benchmarks.home import Home

Sample = Mapping[str, float]
"""What one measurement found, by the name of the metric."""

Unit = Literal["/s", "MiB/s", "ms", "µs", "MiB", "KiB", ""]


class MeasurementError(Exception):
    """Something did not answer as it must, so a number would mean nothing."""


@dataclass(frozen=True)
class Plan:
    """How much is measured. `seconds` is the length of one load, `pause` the rest before a measurement.

    `warm_up` says whether there is a round before the others that does not count.
    """

    rounds: int
    seconds: float = 0.0
    pause: float = 0.0
    warm_up: bool = True


@dataclass(frozen=True)
class Contender:
    """One thing that is measured. It is `unavailable`, with the reason, where a tool it needs is missing."""

    group: str
    name: str
    measure: Callable[[], Sample]
    unavailable: str = ""


@dataclass(frozen=True)
class Column:
    """A column of a suite's table: the `quantile` of a metric over all rounds, 0.5 being the median."""

    title: str
    metric: str
    unit: Unit
    quantile: float = 0.5


@dataclass(frozen=True)
class Cell:
    """A place in a suite's table."""

    group: str
    name: str
    column: str


@dataclass(frozen=True)
class Target:
    """`cell` is at least, or at most, `factor` times the `reference` cell plus `plus`."""

    text: str
    cell: Cell
    relation: Literal["at least", "at most"]
    reference: Cell | None = None
    factor: float = 1.0
    plus: float = 0.0


@dataclass(frozen=True)
class Suite:
    """A table: its first column is the one that contenders of a group are compared by, with the first of them.

    `set_up` starts what is measured and ends it when its context is left. A suite `on_request` runs where it is named.
    """

    name: str
    title: str
    columns: Sequence[Column]
    targets: Sequence[Target]
    full: Plan
    quick: Plan
    set_up: Callable[[Home, Plan], AbstractContextManager[Sequence[Contender]]]
    on_request: bool = False


@dataclass(frozen=True)
class Row:
    """One contender's samples, a list a metric, in the order of the rounds."""

    group: str
    name: str
    samples: Mapping[str, Sequence[float]] = field(default_factory=dict)
    unavailable: str = ""


@dataclass(frozen=True)
class Result:
    """One run of a suite. `versions` are those of the packages in the image."""

    suite: Suite
    plan: Plan
    rows: Sequence[Row]
    versions: Mapping[str, str]
