"""Every suite, in the order of the report."""

from __future__ import annotations

from benchmarks.model import Suite
from benchmarks.suites import (
    autobahn,
    cold_start,
    latency,
    reload,
    serve,
    throughput,
    web_server,
    websocket,
)

SUITES: tuple[Suite, ...] = (
    throughput.SUITE,
    latency.SUITE,
    web_server.SUITE,
    cold_start.SUITE,
    reload.SUITE,
    serve.SUITE,
    websocket.SUITE,
    autobahn.SUITE,
)
