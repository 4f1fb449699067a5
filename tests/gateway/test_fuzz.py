"""The fuzz target itself: what it holds to be true of the corpus, and that it runs."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from gateway.corpus import CASES, NEXT
from gateway.fuzz import judge
from gateway.table import Outcome, Table

TESTS = Path(__file__).parents[1]


def test_corpus_is_judged_well():
    table = Table()
    for case in CASES:
        judge(table, case.data + NEXT)


@pytest.mark.parametrize(
    "outcome",
    [
        Outcome(b"", (CASES[-1].seen[0],), False, False),
        Outcome(b"HTTP/1.1 200 OK\r\n" * 2, (CASES[-1].seen[0],), False, False),
        Outcome(b"HTTP/1.1 400 Bad Request\r\n", (), False, False),
        Outcome(b"HTTP/1.1 400 Bad\r\n\r\nHTTP/1.1 200 OK\r\n", CASES[-1].seen[:1], True, False),
        Outcome(b"HTTP/1.1 200 OK\r\n", (CASES[-1].seen[0]._replace(body=b"x"),), False, False),
    ],
    ids=["no answer", "two answers", "open", "went on", "another body"],
)
def test_what_must_not_be_is_judged_so(outcome: Outcome):
    class Broken(Table):
        def converse(self, pieces):
            return outcome

    with pytest.raises(AssertionError):
        judge(Broken(), NEXT)


@pytest.mark.skipif(
    importlib.util.find_spec("atheris") is None,
    reason="atheris has no wheels for this Python or platform",
)
def test_target_runs_for_as_long_as_it_is_told():
    done = subprocess.run(
        [sys.executable, "-m", "gateway.fuzz", "--seconds=2"],
        env=os.environ | {"PYTHONPATH": str(TESTS)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    units = re.search(r"number_of_executed_units: ([0-9]+)", done.stderr)
    assert units is not None, done.stderr
    assert int(units[1]) > len(CASES)
