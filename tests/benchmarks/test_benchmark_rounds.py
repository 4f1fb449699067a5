from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import pytest
from benchmarks.model import Contender, Plan, Row, Sample
from benchmarks.runner import interleaved
from benchmarks.suites import SUITES


def ignored(_: str) -> None: ...


def recording(order: list[str], name: str) -> Callable[[], Sample]:
    numbers: Iterator[int] = iter(range(100))

    def measure() -> Sample:
        order.append(name)
        return {"n": next(numbers)}

    return measure


def test_contenders_take_turns_and_the_first_round_does_not_count() -> None:
    order: list[str] = []
    contenders = [Contender("group", name, recording(order, name)) for name in "AB"]
    rows = interleaved(contenders, Plan(2), ignored)
    assert order == ["A", "B"] * 3
    assert rows == [Row("group", name, {"n": [1, 2]}) for name in "AB"]


def test_without_a_warm_up_the_first_round_counts() -> None:
    contenders = [Contender("group", "A", recording([], "A"))]
    rows = interleaved(contenders, Plan(2, warm_up=False), ignored)
    assert rows == [Row("group", "A", {"n": [0, 1]})]


def test_what_is_not_there_keeps_its_row_and_its_reason() -> None:
    order: list[str] = []
    absent = Contender("group", "A", partial(pytest.fail, "measured"), unavailable="no A here")
    present = Contender("group", "B", recording(order, "B"))
    rows = interleaved([absent, present], Plan(1), ignored)
    assert rows == [Row("group", "A", {}, "no A here"), Row("group", "B", {"n": [1]})]


def test_nothing_is_run_where_nothing_is_there() -> None:
    steps: list[str] = []
    absent = Contender("group", "A", partial(pytest.fail, "measured"), unavailable="no A here")
    assert interleaved([absent], Plan(3), steps.append) == [Row("group", "A", {}, "no A here")]
    assert steps == []


def test_suites_have_names_of_their_own() -> None:
    assert len({suite.name for suite in SUITES}) == len(SUITES)


def test_a_measurement_that_fails_ends_the_run() -> None:
    def fails() -> Sample:
        raise RuntimeError("no answer")

    with pytest.raises(RuntimeError, match="no answer"):
        interleaved([Contender("group", "A", fails)], Plan(1), ignored)
