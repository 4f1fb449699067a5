from __future__ import annotations

import io
from dataclasses import replace

import pytest
from bench import MACHINE, result, target
from benchmarks.model import Cell, Column, Row, Unit
from benchmarks.report import (
    TITLE,
    cells,
    headings,
    measured,
    merged,
    print_result,
    section,
    verdicts,
)
from rich.console import Console


def test_a_section_has_machine_versions_ratios_and_targets() -> None:
    missed = target(text="Twice as fast", factor=2.0)
    absent = target(text="Beats nginx", reference=Cell("app", "nginx", "requests/s"))
    text = section(result(target(factor=0.9), missed, absent), MACHINE)
    assert text.splitlines() == [
        "## demo",
        "",
        "A demonstration. 2026-01-02 03:04 UTC, 3 rounds of 5 s a row, interleaved.",
        "",
        "- Machine: A Processor, 2 cores, 8 GiB, Linux 6.1, load 0.25 at the start",
        "- Tools: portico 0.1.0 (abc), wrk 4.1.0",
        "- Image: fastapi 0.1",
        "",
        "| app | requests/s | ratio | p50, µs | worst, µs |",
        "| --- | --: | --: | --: | --: |",
        "| direct | 1,000 | 1.00 | 110 | 120 |",
        "| Portico | 950 | 0.95 | 200 | 220 |",
        "| nginx | nginx is not installed | – | – | – |",
        "",
        "| target | measured | outcome |",
        "| --- | --- | --- |",
        "| Portico keeps up | 950/s, the limit is 900/s | met |",
        "| Twice as fast | 950/s, the limit is 2,000/s: missed by 52% | missed |",
        "| Beats nginx | – | not measured |",
    ]


@pytest.mark.parametrize(
    ("unit", "heading", "cell", "said"),
    [
        ("/s", "a", "1,235", "1,235/s"),
        ("µs", "a, µs", "1,235", "1,235 µs"),
        ("ms", "a, ms", "1234.6", "1234.6 ms"),
        ("MiB/s", "a, MiB/s", "1,235", "1,235 MiB/s"),
        ("KiB", "a, KiB", "1234.6", "1234.6 KiB"),
        ("", "a", "1,235", "1,235"),
    ],
)
def test_a_number_has_the_precision_and_the_name_of_its_unit(
    unit: Unit, heading: str, cell: str, said: str
) -> None:
    plain = result(target(cell=Cell("app", "Portico", "a"), reference=None, plus=1))
    suite = replace(plain.suite, columns=(Column("a", "a", unit),))
    found = replace(plain, suite=suite, rows=(Row("app", "Portico", {"a": [1234.56]}),))
    assert headings(found) == ["", heading, "ratio"]
    assert cells(found, found.rows[0]) == [cell, "1.00"]
    (verdict,) = verdicts(found)
    assert measured(verdict).startswith(f"{said}, the limit is ")


def test_results_keep_the_sections_of_suites_that_did_not_run() -> None:
    order = ["one", "two", "three"]
    first = merged("", {"three": "## three\n\nold\n", "one": "## one\n\nold\n"}, order)
    second = merged(first, {"two": "## two\n\nnew\n", "three": "## three\n\nnew\n"}, order)
    assert second == f"{TITLE}\n## one\n\nold\n\n## two\n\nnew\n\n## three\n\nnew\n"
    assert merged(second, {}, order) == second


def test_a_suite_that_is_no_more_leaves_the_results() -> None:
    old = merged("", {"gone": "## gone\n"}, ["gone"])
    assert merged(old, {"one": "## one\n"}, ["one"]) == f"{TITLE}\n## one\n"


@pytest.mark.parametrize("width", [80, 120])
def test_the_terminal_shows_the_same_numbers(width: int) -> None:
    console = Console(file=io.StringIO(), width=width)
    print_result(console, result(target(factor=2.0)))
    said = console.file.getvalue()  # type: ignore[attr-defined]
    assert "0.95" in said
    assert "nginx is not installed" in said
    assert "missed  Portico keeps up (950/s, the limit is 2,000/s: missed by 52%)" in said
