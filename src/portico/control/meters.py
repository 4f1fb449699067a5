"""The seam between the control API and what measures the server."""

from __future__ import annotations

from typing import NamedTuple, Protocol


class Exposition(NamedTuple):
    """All numbers as text for a scraper."""

    body: bytes
    media_type: str


class Meters(Protocol):
    """Knows the server's numbers."""

    async def exposition(self, accept: str) -> Exposition:
        """Every number now, in Prometheus' text format or as OpenMetrics, as the `Accept` header asks."""
