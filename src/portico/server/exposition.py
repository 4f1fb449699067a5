"""From numbers to Prometheus' text: made of copies, in a thread that gives way to the event loop all the time.

The text for a thousand functions takes a second. A thread that only computed would keep the interpreter for five
milliseconds whenever the loop wants it back, and every request would wait as long.
"""

from __future__ import annotations

import itertools
import platform
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

from prometheus_client import ProcessCollector
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.exposition import choose_encoder

from portico.control.meters import Exposition
from portico.pools.member import State
from portico.pools.tally import Durations, Subject, Tally

FUNCTION = ("environment", "app", "function", "ephemeral")
LIVE_STATES = tuple(state.value for state in State if state is not State.GONE)
ANSWERED = "answered"
AT_ONCE = 20  # functions or lines between two rests: some hundred microseconds of work
REST = 0.0001  # seconds; enough for the loop to take over

T = TypeVar("T")


@dataclass(slots=True)
class Load:
    """What a function has now, over all its pools and versions; `containers` by state."""

    waiting: int = 0
    running: int = 0
    containers: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """Every number of a server at one moment. The tallies and durations are copies, which nobody changes."""

    version: str
    tallies: Sequence[Tally]
    loads: dict[Subject, Load]
    client_connections: int
    websockets: int
    upstream_idle: int
    upstream_busy: int
    loop_lag: Durations
    log_lines_dropped: int

    def collect(self) -> Iterator[Metric]:
        """The families, as prometheus_client's encoders ask for them."""
        yield from self._requests()
        yield from self._cold_starts()
        yield from self._loads()
        yield from self._gateway()

    def _requests(self) -> Iterator[Metric]:
        requests = CounterMetricFamily(
            "portico_requests",
            "Requests that ended, by status class of the answer and by how they ended.",
            labels=(*FUNCTION, "status", "outcome"),
        )
        latency = HistogramMetricFamily(
            "portico_request_duration_seconds",
            "From a request's head to the last byte of its answer, where a container answered.",
            labels=FUNCTION,
        )
        for tally in giving_way(self.tallies):
            function = labels(tally.subject)
            for status, count in enumerate(tally.answered):
                if count:
                    requests.add_metric([*function, status_class(status), ANSWERED], count)
            for (outcome, status), count in tally.others.items():
                requests.add_metric([*function, status_class(status), outcome], count)
            if any(tally.latency.counts):
                add_histogram(latency, function, tally.latency)
        yield requests
        yield latency

    def _cold_starts(self) -> Iterator[Metric]:
        phases = HistogramMetricFamily(
            "portico_cold_start_seconds",
            "What inputs waited for that came before their container was there, by phase.",
            labels=(*FUNCTION, "phase"),
        )
        starts = CounterMetricFamily(
            "portico_container_starts", "Containers started.", labels=FUNCTION
        )
        failures = CounterMetricFamily(
            "portico_container_start_failures",
            "Containers that ended before they took inputs.",
            labels=FUNCTION,
        )
        for tally in giving_way(self.tallies):
            function = labels(tally.subject)
            for phase, durations in tally.cold_starts.items():
                add_histogram(phases, [*function, phase], durations)
            if tally.starts or tally.subject in self.loads:
                starts.add_metric(function, tally.starts)
                failures.add_metric(function, tally.failed_starts)
        yield from (phases, starts, failures)

    def _loads(self) -> Iterator[Metric]:
        waiting = GaugeMetricFamily(
            "portico_inputs_waiting", "Inputs that wait for a slot.", labels=FUNCTION
        )
        running = GaugeMetricFamily(
            "portico_inputs_running", "Inputs that hold a slot.", labels=FUNCTION
        )
        containers = GaugeMetricFamily(
            "portico_containers", "Containers, by state.", labels=(*FUNCTION, "state")
        )
        for subject, load in giving_way(self.loads.items()):
            function = labels(subject)
            waiting.add_metric(function, load.waiting)
            running.add_metric(function, load.running)
            for state in LIVE_STATES:
                containers.add_metric([*function, state], load.containers[state])
        yield from (waiting, running, containers)

    def _gateway(self) -> Iterator[Metric]:
        yield GaugeMetricFamily(
            "portico_client_connections", "Open connections of clients.", self.client_connections
        )
        yield GaugeMetricFamily(
            "portico_websockets", "Client connections that are WebSockets.", self.websockets
        )
        upstream = GaugeMetricFamily(
            "portico_upstream_connections", "Open connections to containers.", labels=("state",)
        )
        upstream.add_metric(["busy"], self.upstream_busy)
        upstream.add_metric(["idle"], self.upstream_idle)
        yield upstream
        lag = HistogramMetricFamily(
            "portico_event_loop_lag_seconds",
            "How late the event loop was, looked at twice a second or more often.",
            labels=(),
        )
        add_histogram(lag, (), self.loop_lag)
        yield lag
        yield CounterMetricFamily(
            "portico_access_log_dropped_lines",
            "Lines that the access log had no room or no time for.",
            self.log_lines_dropped,
        )
        build = {"version": self.version, "python": platform.python_version()}
        yield InfoMetricFamily("portico_build", "What runs.", build)


class Collects(Protocol):
    """Gives families."""

    def collect(self) -> Iterable[Metric]:
        """The families now."""


class _All:
    """Several collectors as one."""

    def __init__(self, *collectors: Collects) -> None:
        self._collectors = collectors

    def collect(self) -> Iterator[Metric]:
        for collector in self._collectors:
            for family in collector.collect():
                family.samples = _Samples(family.samples)
                yield family


class _Samples(list[Any]):
    """Samples whose reader rests now and then: the encoders go through them once."""

    def __iter__(self) -> Iterator[Any]:
        return giving_way(super().__iter__())


def giving_way(items: Iterable[T]) -> Iterator[T]:
    """`items`, with a rest after every `AT_ONCE` of them."""
    for number, item in enumerate(items, 1):
        yield item
        if number % AT_ONCE == 0:
            time.sleep(REST)


def expose(snapshot: Collects, accept: str) -> Exposition:
    """The text for a scraper that sends this `Accept`, with the process's own memory, CPU and descriptors."""
    encode, media_type = encoder(accept)
    return Exposition(encode(_All(snapshot, ProcessCollector(registry=None))), media_type)


def encoder(accept: str) -> tuple[Callable[[Collects], bytes], str]:
    """How to write, and the media type of it; what cannot be understood asks for the oldest format."""
    try:
        return choose_encoder(accept)
    except (TypeError, ValueError):  # versions that are no numbers
        return choose_encoder("")


def add_histogram(
    family: HistogramMetricFamily, labels: Sequence[str], durations: Durations
) -> None:
    """Add `durations` with counts that include those of all smaller bounds."""
    names = [*(str(bound) for bound in durations.bounds), "+Inf"]
    counts = itertools.accumulate(durations.counts)
    family.add_metric(labels, [*zip(names, counts, strict=True)], durations.total)


def labels(subject: Subject) -> list[str]:
    """The values of `FUNCTION`."""
    ephemeral = "true" if subject.ephemeral else "false"
    return [subject.environment, subject.app, subject.function, ephemeral]


def status_class(first_digit: int) -> str:
    """``2xx``, or ``none`` where the client was told nothing."""
    return f"{first_digit}xx" if first_digit else "none"
