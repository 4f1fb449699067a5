"""Every suite, in the order of the report."""

from __future__ import annotations

from benchmarks.model import Suite
from benchmarks.suites import (
    autobahn,
    cold_start,
    connections,
    endpoints,
    events,
    latency,
    observability,
    peers,
    reload,
    serve,
    streaming,
    throughput,
    web_server,
    websocket,
)

SUITES: tuple[Suite, ...] = (
    throughput.SUITE,
    latency.SUITE,
    web_server.SUITE,
    observability.SUITE,
    cold_start.SUITE,
    reload.SUITE,
    serve.SUITE,
    streaming.SUITE,
    events.SUITE,
    websocket.SUITE,
    connections.SUITE,
    endpoints.SUITE,
    peers.SUITE,
    autobahn.SUITE,
)
