"""Pure arithmetic over samples: quantiles, ratios and targets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.model import Cell, Column, Result, Row, Target


def quantile(values: Sequence[float], q: float) -> float:
    """The `q` quantile (0 to 1) of `values`, interpolated between the two nearest. Raises ValueError."""
    if not values:
        raise ValueError("there is no quantile of no values")
    ordered = sorted(values)
    position = q * (len(ordered) - 1)
    below = int(position)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (position - below)


def value(row: Row, column: Column) -> float | None:
    """What stands in a cell; None where nothing was measured."""
    values = row.samples.get(column.metric)
    return quantile(values, column.quantile) if values else None


def ratio(result: Result, row: Row) -> float | None:
    """The row's first column as a multiple of that of its group's first row."""
    column = result.suite.columns[0]
    first = next(other for other in result.rows if other.group == row.group)
    return divide(value(row, column), value(first, column))


def divide(dividend: float | None, divisor: float | None) -> float | None:
    """The quotient, where there is one."""
    return dividend / divisor if dividend is not None and divisor else None


@dataclass(frozen=True)
class Verdict:
    """A target held against a run. `met` is None where one of its two sides was not measured."""

    target: Target
    column: Column
    measured: float | None
    limit: float | None
    met: bool | None

    @property
    def share(self) -> float | None:
        """What was measured as a multiple of the limit."""
        return divide(self.measured, self.limit)


def judge(result: Result, target: Target) -> Verdict:
    """Hold `target` against what was measured."""
    column, measured = _look_up(result, target.cell)
    limit: float | None = target.plus
    if target.reference is not None:
        reference = _look_up(result, target.reference)[1]
        limit = None if reference is None else target.factor * reference + target.plus
    if measured is None or limit is None:
        return Verdict(target, column, measured, limit, None)
    met = measured >= limit if target.relation == "at least" else measured <= limit
    return Verdict(target, column, measured, limit, met)


def _look_up(result: Result, cell: Cell) -> tuple[Column, float | None]:
    """Raises LookupError for a cell that the suite's table does not have, which is a mistake in the suite."""
    columns = [column for column in result.suite.columns if column.title == cell.column]
    rows = [row for row in result.rows if (row.group, row.name) == (cell.group, cell.name)]
    if not columns or not rows:
        raise LookupError(f"{result.suite.name} has no cell {cell}")
    return columns[0], value(rows[0], columns[0])
