"""What has happened to the inputs of one function since the server started, in numbers that only grow.

Requests are counted on the hot path: nothing here locks, allocates or formats there. Whoever reads the numbers takes
a copy on the event loop and does the rest elsewhere.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import NamedTuple

from portico.pools.member import ColdStart

LATENCY_BOUNDS = (
    *(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5),
    *(1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0),
)
"""Seconds: from what a gateway adds to what a function's default timeout allows."""
PHASE_BOUNDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)
"""Seconds: from a fork to the default of `startup_timeout`."""
STATUS_CLASSES = 10  # a status has three digits; the class is the first


class Subject(NamedTuple):
    """Whose numbers they are; `function` is the public name, or a class's for what its methods share."""

    environment: str = ""
    app: str = ""
    function: str = ""
    ephemeral: bool = False


class Durations:
    """A histogram of seconds: `counts` by the smallest of the `bounds` that is not exceeded, the last for the rest."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def add(self, seconds: float) -> None:
        """Count one."""
        self.counts[bisect_left(self.bounds, seconds)] += 1
        self.total += seconds

    def copy(self) -> Durations:
        """The numbers as they are now."""
        copy = Durations(self.bounds)
        copy.counts[:] = self.counts
        copy.total = self.total
        return copy


class Tally:
    """The numbers of one function, over all its versions, containers and parameter values."""

    __slots__ = (
        "answered",
        "cold_starts",
        "failed_starts",
        "latency",
        "others",
        "starts",
        "subject",
    )

    def __init__(self, subject: Subject = Subject()) -> None:
        self.subject = subject
        self.answered = [0] * STATUS_CLASSES
        """Requests that a container answered whole, by status class."""
        self.others: dict[tuple[str, int], int] = {}
        """Requests that ended otherwise, by outcome and status class, which is 0 where none was sent."""
        self.latency = Durations(LATENCY_BOUNDS)
        """How long the answered ones took."""
        self.cold_starts: dict[str, Durations] = {}
        """What inputs waited for that came before their container was there, by phase."""
        self.starts = 0
        """Containers started."""
        self.failed_starts = 0
        """Containers that ended before they took inputs."""

    def answer(self, status: int, seconds: float) -> None:
        """A container answered a request, `seconds` after it came."""
        self.answered[status // 100] += 1
        latency = self.latency
        latency.counts[bisect_left(LATENCY_BOUNDS, seconds)] += 1
        latency.total += seconds

    def other(self, outcome: str, status: int) -> None:
        """A request ended in another way; `status` is what the client was told, 0 for nothing."""
        key = outcome, status // 100
        self.others[key] = self.others.get(key, 0) + 1

    def cold_start(self, cold_start: ColdStart) -> None:
        """An input waited for a container."""
        for phase, milliseconds in cold_start.phases.items():
            durations = self.cold_starts.get(phase)
            if durations is None:
                durations = self.cold_starts[phase] = Durations(PHASE_BOUNDS)
            durations.add(milliseconds / 1000)

    def copy(self) -> Tally:
        """The numbers as they are now."""
        copy = Tally(self.subject)
        copy.answered[:] = self.answered
        copy.others.update(self.others)
        copy.latency = self.latency.copy()
        copy.cold_starts = {phase: each.copy() for phase, each in self.cold_starts.items()}
        copy.starts, copy.failed_starts = self.starts, self.failed_starts
        return copy


class Tallies:
    """The tallies of all functions. Numbers never go backwards: those of a stopped app stay.

    So that a server that has seen many apps does not keep them all, the functions that stopped first are forgotten
    where more than `keep` have no app that runs.
    """

    def __init__(self, keep: int = 1000) -> None:
        self._keep = keep
        self._tallies: dict[Subject, Tally] = {}
        self._running: dict[str, frozenset[Subject]] = {}

    def of(self, subject: Subject) -> Tally:
        """The tally of a function, which begins at zero where there is none."""
        tally = self._tallies.get(subject)
        if tally is None:
            tally = self._tallies[subject] = Tally(subject)
        return tally

    def running(self, app_id: str, subjects: frozenset[Subject]) -> None:
        """These are the functions of the app that run from now on; none where it was stopped."""
        before = self._running.pop(app_id, frozenset())
        if subjects:
            self._running[app_id] = subjects
        for subject in before - subjects:
            if subject in self._tallies:
                self._tallies[subject] = self._tallies.pop(subject)  # now the last to be forgotten
        self._forget()

    def _forget(self) -> None:
        running: set[Subject] = set().union(*self._running.values())
        stopped = [subject for subject in self._tallies if subject not in running]
        for subject in stopped[: max(0, len(stopped) - self._keep)]:
            del self._tallies[subject]

    @property
    def all(self) -> tuple[Tally, ...]:
        """Every one there is."""
        return tuple(self._tallies.values())
