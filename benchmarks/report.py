"""A run as text: tables for the terminal, sections of RESULTS.md."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from rich.console import Console
from rich.table import Table

from benchmarks.machine import Machine
from benchmarks.model import Column, Result, Row
from benchmarks.statistics import Verdict, judge, ratio, value

NOTHING = "–"
TITLE = """# Results

Written by `python -m benchmarks --write`, which replaces the sections of the suites it ran. What each
number means is in [README.md](README.md).
"""


def print_result(console: Console, result: Result) -> None:
    """Tables of a suite's numbers and of its targets."""
    table = Table(title=result.suite.title, title_justify="left", title_style="bold")
    for number, heading in enumerate(headings(result)):
        table.add_column(heading, justify="left" if number == 0 else "right", no_wrap=True)
    last = ""
    for row in result.rows:
        if row.group != last:
            table.add_section()
            table.add_row(row.group, style="bold")
            last = row.group
        table.add_row(f"  {row.name}", *cells(result, row))
    console.print(table)
    for verdict in verdicts(result):
        style = {True: "green", False: "red", None: "yellow"}[verdict.met]
        line = f"{outcome(verdict):>12}  {sentence(verdict)}"
        console.print(line, style=style, markup=False, highlight=False, soft_wrap=True)
    console.print()


def section(result: Result, machine: Machine) -> str:
    """The section of a suite in RESULTS.md."""
    rounds = f"{result.plan.rounds} round{'s' if result.plan.rounds > 1 else ''}"
    if result.plan.seconds:
        rounds += f" of {result.plan.seconds:g} s a row"
    lines = [
        f"## {result.suite.name}",
        "",
        f"{result.suite.title}. {machine.date}, {rounds}, interleaved.",
        "",
        f"- Machine: {machine.processor}, {machine.cores} cores, {machine.memory}, {machine.system},"
        f" load {machine.load:.2f} at the start",
        f"- Tools: {_listed(machine.tools)}",
        f"- Image: {_listed(result.versions)}",
    ]
    for group in dict.fromkeys(row.group for row in result.rows):
        titles = headings(result)[1:]
        lines += ["", _line([group, *titles]), _line(["---", *["--:"] * len(titles)])]
        lines += [
            _line([row.name, *cells(result, row)]) for row in result.rows if row.group == group
        ]
    lines += ["", _line(["target", "measured", "outcome"]), _line(["---"] * 3)]
    lines += [
        _line([verdict.target.text, measured(verdict), outcome(verdict)])
        for verdict in verdicts(result)
    ]
    return "\n".join([*lines, ""])


def merged(old: str, sections: Mapping[str, str], order: Sequence[str]) -> str:
    """RESULTS.md with `sections` in place of those of the same name in `old`, the suites in `order`."""
    parts = re.split(r"^(?=## )", old, flags=re.MULTILINE)
    kept = {part.splitlines()[0].removeprefix("## "): part for part in parts[1:]}
    every = {**kept, **sections}
    return "\n".join([TITLE, *(every[name].rstrip() + "\n" for name in order if name in every)])


def headings(result: Result) -> list[str]:
    """Titles of a table's columns, the ratio being to a group's first row."""
    first, *others = result.suite.columns
    titles = [_with_unit(first), "ratio", *map(_with_unit, others)]
    return ["", *titles]


def cells(result: Result, row: Row) -> list[str]:
    """A row's numbers as text, in the order of `headings`; the reason where there are none."""
    if row.unavailable:
        return [row.unavailable, *[NOTHING] * len(result.suite.columns)]
    first, *others = [_number(value(row, column), column) for column in result.suite.columns]
    factor = ratio(result, row)
    return [first, NOTHING if factor is None else f"{factor:.2f}", *others]


def verdicts(result: Result) -> Iterator[Verdict]:
    """Every target of the suite, judged."""
    return (judge(result, target) for target in result.suite.targets)


def outcome(verdict: Verdict) -> str:
    """One or two words on a target."""
    return {True: "met", False: "missed", None: "not measured"}[verdict.met]


def sentence(verdict: Verdict) -> str:
    """A target with what was measured."""
    return f"{verdict.target.text} ({measured(verdict)})"


def measured(verdict: Verdict) -> str:
    """The two sides of a target; by how much it was missed, if it was."""
    if verdict.measured is None or verdict.limit is None:
        return NOTHING
    column = verdict.column
    text = f"{_with(verdict.measured, column)}, the limit is {_with(verdict.limit, column)}"
    if verdict.met or verdict.share is None:
        return text
    return f"{text}: missed by {abs(verdict.share - 1):.0%}"


def _with_unit(column: Column) -> str:
    return column.title if column.unit in ("/s", "") else f"{column.title}, {column.unit}"


def _with(number: float, column: Column) -> str:
    unit = column.unit
    return f"{_number(number, column)}{' ' if unit and not unit.startswith('/') else ''}{unit}"


def _number(number: float | None, column: Column) -> str:
    if number is None:
        return NOTHING
    return f"{number:.1f}" if column.unit in ("ms", "MiB", "KiB") else f"{number:,.0f}"


def _listed(versions: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {version}" for name, version in versions.items())


def _line(texts: Sequence[str]) -> str:
    return f"| {' | '.join(texts)} |"
