from __future__ import annotations

import pytest
from benchmarks.autobahn import counted
from benchmarks.model import MeasurementError
from benchmarks.suites.autobahn import GROUPS, LARGE, LONG, SMALL


def test_verdicts_are_counted_and_so_is_the_code_of_the_limit() -> None:
    report = {
        "1.1.1": {"behavior": "OK", "remoteCloseCode": 1000},
        "3.2": {"behavior": "NON-STRICT", "remoteCloseCode": 1002},
        "9.1.4": {"behavior": "FAILED", "remoteCloseCode": 1009},
        "9.1.5": {"behavior": "FAILED", "remoteCloseCode": None},
    }
    assert counted(report) == {"OK": 1, "NON-STRICT": 1, "FAILED": 2, "1009": 1}


def test_a_report_without_cases_is_no_result() -> None:
    with pytest.raises(MeasurementError, match="no case"):
        counted({})


def test_no_case_counts_twice() -> None:
    small, large = set(GROUPS[SMALL]), set(GROUPS[LARGE])
    assert not small & large
    assert {SMALL, LARGE} < set(LONG) < set(GROUPS)
