from __future__ import annotations

import pytest
from bench import ABSENT, COLUMNS, DIRECT, PORTICO, result, target
from benchmarks.model import Cell, Row
from benchmarks.statistics import judge, quantile, ratio, value


@pytest.mark.parametrize(
    ("values", "q", "expected"),
    [
        ([7], 0.95, 7),
        ([3, 1, 2], 0.5, 2),
        ([4, 1, 2, 3], 0.5, 2.5),
        (list(range(101)), 0.95, 95),
        ([10, 20], 0.95, 19.5),
        ([5, 9, 1], 0, 1),
        ([5, 9, 1], 1, 9),
    ],
)
def test_a_quantile_is_interpolated_between_the_nearest_values(
    values: list[float], q: float, expected: float
) -> None:
    assert quantile(values, q) == pytest.approx(expected)


def test_nothing_has_no_quantile() -> None:
    with pytest.raises(ValueError, match="no values"):
        quantile([], 0.5)


def test_a_cell_is_the_median_or_the_quantile_of_its_column() -> None:
    assert value(DIRECT, COLUMNS[0]) == 1000
    assert value(DIRECT, COLUMNS[2]) == 120
    assert value(ABSENT, COLUMNS[0]) is None


def test_a_ratio_is_to_the_first_row_of_the_same_group() -> None:
    other = Row("other app", "direct", {"requests": [10.0]})
    run = result(rows=(DIRECT, PORTICO, ABSENT, other))
    assert ratio(run, DIRECT) == 1
    assert ratio(run, PORTICO) == pytest.approx(0.95)
    assert ratio(run, ABSENT) is None
    assert ratio(run, other) == 1


def test_there_is_no_ratio_to_a_row_that_was_not_measured() -> None:
    absent = Row("app", "nginx", unavailable="nginx is not installed")
    assert ratio(result(rows=(absent, PORTICO)), PORTICO) is None


@pytest.mark.parametrize(("factor", "met"), [(0.94, True), (0.95, True), (0.96, False)])
def test_at_least_a_multiple_of_the_reference(factor: float, met: bool) -> None:
    verdict = judge(result(), target(factor=factor))
    assert (verdict.measured, verdict.limit) == (950, pytest.approx(factor * 1000))
    assert verdict.met is met


@pytest.mark.parametrize(("plus", "met"), [(89, False), (90, True), (91, True)])
def test_at_most_the_reference_plus_an_allowance(plus: float, met: bool) -> None:
    verdict = judge(
        result(),
        target(
            cell=Cell("app", "Portico", "p50"),
            relation="at most",
            reference=Cell("app", "direct", "p50"),
            plus=plus,
        ),
    )
    assert verdict.met is met


@pytest.mark.parametrize(("limit", "met"), [(199.0, False), (200.0, True)])
def test_at_most_an_absolute_value(limit: float, met: bool) -> None:
    cell = Cell("app", "Portico", "p50")
    verdict = judge(result(), target(cell=cell, relation="at most", reference=None, plus=limit))
    assert verdict.met is met


def test_a_target_is_not_judged_without_both_of_its_sides() -> None:
    absent = Cell("app", "nginx", "requests/s")
    assert judge(result(), target(reference=absent)).met is None
    assert judge(result(), target(cell=absent)).met is None


def test_a_target_that_names_no_cell_is_a_mistake() -> None:
    with pytest.raises(LookupError, match="demo"):
        judge(result(), target(cell=Cell("app", "Portico", "p51")))
