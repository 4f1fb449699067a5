"""The numbers as a scraper reads them: valid in both formats, and nothing in them can be forged."""

from __future__ import annotations

import dataclasses
from collections import Counter

import pytest
from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as parse_openmetrics,
)
from prometheus_client.parser import text_string_to_metric_families as parse_text

from portico.pools.member import ColdStart
from portico.pools.tally import LATENCY_BOUNDS, Durations, Subject, Tally
from portico.server import exposition
from portico.server.exposition import Load, Snapshot, expose

OPENMETRICS = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5"
WEB = Subject("main", "shop", "Cart.page")
POOL = Subject("main", "shop", "Cart")
HOSTILE = Subject("main", 'a"\n{}\\', "f", ephemeral=True)


def snapshot() -> Snapshot:
    strays, web, pool, hostile = Tally(), Tally(WEB), Tally(POOL), Tally(HOSTILE)
    strays.other("not_found", 404)
    strays.other("aborted", 0)
    for seconds in (0.0005, 0.003, 0.003, 1e6):
        web.answer(200, seconds)
    web.answer(404, 0.003)
    web.other("rate_limited", 429)
    web.other("cut", 200)
    pool.cold_start(ColdStart({"queue": 1.0, "boot": 50.0, "import": 700.0}))
    pool.starts, pool.failed_starts = 3, 1
    hostile.answer(500, 0.1)
    lag = Durations((0.1, 1.0))
    lag.add(0.2)
    return Snapshot(
        version="1.2.3",
        tallies=[strays, web, pool, hostile],
        loads={POOL: Load(waiting=4, running=2, containers=Counter(ready=1, draining=2))},
        client_connections=7,
        websockets=3,
        upstream_idle=5,
        upstream_busy=2,
        loop_lag=lag,
        log_lines_dropped=6,
    )


Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def scraped(accept: str) -> Samples:
    """Every sample that a parser of the format finds."""
    said = expose(snapshot(), accept)
    openmetrics = said.media_type.startswith("application/openmetrics-text")
    parse = parse_openmetrics if openmetrics else parse_text
    samples: Samples = {}
    for family in parse(said.body.decode()):
        for sample in family.samples:
            key = sample.name, frozenset(sample.labels.items())
            assert key not in samples
            samples[key] = sample.value
    return samples


def key(name: str, subject: Subject | None = None, **labels: str) -> tuple[str, frozenset]:
    if subject is not None:
        ephemeral = "true" if subject.ephemeral else "false"
        labels |= {"environment": subject.environment, "app": subject.app}
        labels |= {"function": subject.function, "ephemeral": ephemeral}
    return name, frozenset(labels.items())


@pytest.mark.parametrize("accept", ["", OPENMETRICS])
def test_every_number_is_there_in_both_formats(accept: str) -> None:
    samples = scraped(accept)
    requests = "portico_requests_total"
    expected = {
        key(requests, Subject(), status="4xx", outcome="not_found"): 1,
        key(requests, Subject(), status="none", outcome="aborted"): 1,
        key(requests, WEB, status="2xx", outcome="answered"): 4,
        key(requests, WEB, status="4xx", outcome="answered"): 1,
        key(requests, WEB, status="4xx", outcome="rate_limited"): 1,
        key(requests, WEB, status="2xx", outcome="cut"): 1,
        key(requests, HOSTILE, status="5xx", outcome="answered"): 1,
        key("portico_container_starts_total", POOL): 3,
        key("portico_container_start_failures_total", POOL): 1,
        key("portico_inputs_waiting", POOL): 4,
        key("portico_inputs_running", POOL): 2,
        key("portico_containers", POOL, state="starting"): 0,
        key("portico_containers", POOL, state="ready"): 1,
        key("portico_containers", POOL, state="draining"): 2,
        key("portico_containers", POOL, state="stopping"): 0,
        key("portico_client_connections"): 7,
        key("portico_websockets"): 3,
        key("portico_upstream_connections", state="idle"): 5,
        key("portico_upstream_connections", state="busy"): 2,
        key("portico_event_loop_lag_seconds_sum"): 0.2,
        key("portico_event_loop_lag_seconds_count"): 1,
        key("portico_access_log_dropped_lines_total"): 6,
    }
    assert {k: samples.get(k) for k in expected} == expected
    assert sum(v for (name, _), v in samples.items() if name == requests) == 10
    (build,) = (dict(labels) for name, labels in samples if name == "portico_build_info")
    assert build["version"] == "1.2.3"
    assert samples[key("process_resident_memory_bytes")] > 1 << 20
    assert samples[key("process_cpu_seconds_total")] > 0


def test_a_histogram_counts_what_is_within_each_bound() -> None:
    samples = scraped("")
    name = "portico_request_duration_seconds"
    within = {
        dict(labels)["le"]: value
        for (sample, labels), value in samples.items()
        if sample == f"{name}_bucket" and ("function", WEB.function) in labels
    }
    assert len(within) == len(LATENCY_BOUNDS) + 1
    assert [within[le] for le in ("0.001", "0.0025", "0.005", "300.0", "+Inf")] == [1, 1, 4, 4, 5]
    assert samples[key(f"{name}_count", WEB)] == 5
    assert samples[key(f"{name}_sum", WEB)] == pytest.approx(1e6 + 0.0095)
    phases = "portico_cold_start_seconds"
    assert samples[key(f"{phases}_sum", POOL, phase="import")] == 0.7
    assert samples[key(f"{phases}_bucket", POOL, phase="boot", le="0.05")] == 1


@pytest.mark.parametrize(
    "accept",
    [
        "*/*",
        "text/html",
        ";;,,",
        "application/openmetrics-text;version=x",
        "text/plain;version=x.y",
        "text/plain;version=" + "9" * 5000,
        "application/openmetrics-text;version=1.0.0;escaping=nonsense",
    ],
)
def test_what_a_scraper_asks_for_badly_is_answered_all_the_same(accept: str) -> None:
    assert b"portico_requests_total{" in expose(snapshot(), accept).body


def test_text_for_many_functions_is_made_with_rests_and_loses_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    subjects = [Subject("main", f"app-{number}", "f") for number in range(200)]
    many = dataclasses.replace(
        snapshot(), tallies=[], loads={subject: Load(waiting=1) for subject in subjects}
    )
    rests: list[float] = []
    monkeypatch.setattr(exposition.time, "sleep", rests.append)
    text = expose(many, "").body.decode()
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    assert len([line for line in lines if line.startswith("portico_inputs_waiting")]) == 200
    # Once while the families are made, and once while they are written.
    assert len(rests) >= (len(subjects) + len(lines) - 100) // exposition.AT_ONCE
