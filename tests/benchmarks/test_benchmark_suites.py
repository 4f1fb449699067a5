"""What holds for every suite, and the little arithmetic that some have of their own."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from benchmarks.home import Home
from benchmarks.model import Result, Row, Suite
from benchmarks.processes import clean_environ
from benchmarks.report import verdicts
from benchmarks.suites import SUITES, latency

NEED_WRK = ("throughput", "web-server", "latency", "endpoints", "peers")


def test_every_target_is_of_a_column_that_its_suite_has() -> None:
    for suite in SUITES:
        titles = {column.title for column in suite.columns}
        for target in suite.targets:
            assert target.cell.column in titles, target
            assert target.reference is None or target.reference.column in titles, target


@pytest.mark.parametrize("suite", [s for s in SUITES if s.name in NEED_WRK], ids=lambda s: s.name)
def test_without_wrk_nothing_is_started_and_every_row_says_so(
    suite: Suite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    home = Home(tmp_path, clean_environ(), Path(sys.executable))
    with suite.set_up(home, suite.quick) as contenders:
        assert {one.unavailable for one in contenders} == {"wrk is not installed"}
        rows = [Row(one.group, one.name, {}, one.unavailable) for one in contenders]
    assert len({(row.group, row.name) for row in rows}) == len(rows)
    # Every target finds its cells, which are empty.
    assert all(one.met is None for one in verdicts(Result(suite, suite.quick, rows, {})))


def test_what_is_offered_is_a_share_of_what_the_slowest_server_of_the_app_can_do() -> None:
    capacity = {("raw", "a"): 1000.0, ("raw", "b"): 2000.0, ("fastapi", "a"): 100.0}
    assert latency.offered(capacity, "raw") == pytest.approx(600)
    assert latency.offered(capacity, "fastapi") == pytest.approx(60)
