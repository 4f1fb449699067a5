"""``python -m benchmarks [suite …] [--quick] [--write]``."""

from __future__ import annotations

import argparse
import signal
import sys
from pathlib import Path

from rich.console import Console

from benchmarks.machine import this_machine
from benchmarks.model import MeasurementError
from benchmarks.report import merged, print_result, section
from benchmarks.runner import run
from benchmarks.suites import SUITES

RESULTS = Path(__file__).with_name("RESULTS.md")
WIDTH = 120  # columns where the output is no terminal


def main() -> int:
    """Run the chosen suites. Returns 0 when all could be measured, whatever their targets say."""
    arguments = _parsed()
    # As an exception, so that what was started is ended.
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    out, err = Console(), Console(stderr=True)
    if not out.is_terminal:
        out.width = WIDTH
    machine = this_machine()
    if machine.load > machine.cores / 4:
        err.print(f"The machine is busy (load {machine.load:.2f}): the numbers will mean little.")
    by_default = [suite.name for suite in SUITES if not suite.on_request]
    sections: dict[str, str] = {}
    failed = False
    for suite in SUITES:
        if suite.name not in (arguments.suites or by_default):
            continue
        plan = suite.quick if arguments.quick else suite.full
        try:
            result = run(suite, plan, lambda step: err.print(step, style="dim", highlight=False))
        except MeasurementError as error:
            err.print(f"{suite.name} failed: {error}", style="red", markup=False)
            failed = True
            continue
        print_result(out, result)
        sections[suite.name] = section(result, machine)
    if arguments.write and sections:
        old = RESULTS.read_text("utf-8") if RESULTS.exists() else ""
        RESULTS.write_text(merged(old, sections, [suite.name for suite in SUITES]), "utf-8")
        err.print(f"Wrote {RESULTS.name}.")
    return 1 if failed else 0


def _parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    names = [suite.name for suite in SUITES]
    rare = [suite.name for suite in SUITES if suite.on_request]
    parser.add_argument(
        "suites",
        nargs="*",
        metavar="suite",
        help=f"which to run: {', '.join(names)}; default all but {', '.join(rare)}",
    )
    parser.add_argument(
        "--quick", action="store_true", help="see that everything runs; the numbers mean nothing"
    )
    parser.add_argument("--write", action="store_true", help="update benchmarks/RESULTS.md")
    arguments = parser.parse_args()
    if unknown := set(arguments.suites) - set(names):
        parser.error(
            f"there is no suite {', '.join(sorted(unknown))}; there are {', '.join(names)}"
        )
    if arguments.quick and arguments.write:
        parser.error("the numbers of --quick mean nothing and are not written")
    return arguments


if __name__ == "__main__":
    sys.exit(main())
