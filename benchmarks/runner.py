"""Running a suite: its contenders in turn, round after round, so that all meet the same machine."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from benchmarks.home import new_home
from benchmarks.machine import package_versions
from benchmarks.model import Contender, Plan, Result, Row, Suite

Say = Callable[[str], None]


def run(suite: Suite, plan: Plan, say: Say) -> Result:
    """Measure `suite`. Raises `MeasurementError`; whatever was started is ended in any case."""
    say(f"{suite.name}: preparing the image")
    with new_home() as home, suite.set_up(home, plan) as contenders:
        rows = interleaved(contenders, plan, lambda step: say(f"{suite.name}: {step}"))
        return Result(suite, plan, rows, package_versions(home.python))


def interleaved(contenders: Sequence[Contender], plan: Plan, say: Say) -> list[Row]:
    """Measure A, B, C, A, B, C, … after one round of everything that does not count, if the plan wants it."""
    present = [contender for contender in contenders if not contender.unavailable]
    samples: dict[tuple[str, str], dict[str, list[float]]] = {}
    rounds = plan.rounds
    for number in range(0 if plan.warm_up else 1, rounds + 1 if present else 0):
        say(f"round {number} of {rounds}" if number else "warming up")
        for contender in present:
            sample = contender.measure()
            if number == 0:
                continue
            kept = samples.setdefault((contender.group, contender.name), {})
            for metric, value in sample.items():
                kept.setdefault(metric, []).append(value)
    return [
        Row(one.group, one.name, samples.get((one.group, one.name), {}), one.unavailable)
        for one in contenders
    ]
