"""Clients that measure, each in a process of its own: ``python -m benchmarks.clients.NAME …`` prints its sample."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from benchmarks.model import MeasurementError, Sample
from benchmarks.processes import checked, clean_environ

CHECKOUT = Path(__file__).parents[2]


def command(name: str, *arguments: object) -> list[str]:
    """What runs a client; it needs `environ`."""
    return [sys.executable, "-P", "-m", f"benchmarks.clients.{name}", *map(str, arguments)]


def environ() -> dict[str, str]:
    """The environment of a client, which finds this package."""
    return clean_environ(PYTHONPATH=str(CHECKOUT), PYTHONDONTWRITEBYTECODE="1")


def sample(name: str, *arguments: object) -> Sample:
    """What a client found. Raises `MeasurementError` where it failed, or found nothing."""
    said = checked(command(name, *arguments), env=environ(), cwd=CHECKOUT)
    found: dict[str, float] = json.loads(said)
    if not found:
        raise MeasurementError(f"the client {name} found nothing at {arguments}")
    return found
