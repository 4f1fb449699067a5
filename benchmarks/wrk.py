"""Load from wrk."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from benchmarks.model import MeasurementError, Sample
from benchmarks.processes import checked, clean_environ

SCRIPT = Path(__file__).with_name("wrk.lua")


def missing() -> str:
    """Why this machine has no load from wrk; empty where it has."""
    return "" if shutil.which("wrk") else "wrk is not installed"


def load(url: str, *, connections: int, seconds: float, body: str = "") -> Sample:
    """Requests a second and latencies (µs) of `connections` that ask again and again, on one thread.

    wrk counts whole seconds. A `body` of JSON is posted. Raises `MeasurementError` where a request failed.
    """
    duration = f"{max(1, round(seconds))}s"
    command: list[str | Path] = [
        "wrk",
        "-t1",
        f"-c{connections}",
        f"-d{duration}",
        "--latency",
        "-s",
        SCRIPT,
        url,
        *(["--", body] if body else []),
    ]
    return sample_of(checked(command, env=clean_environ(), cwd=SCRIPT.parent), url)


def sample_of(output: str, url: str) -> Sample:
    """The line of ``wrk.lua`` in wrk's output as a sample."""
    line = next((line for line in output.splitlines() if line.startswith("{")), None)
    if line is None:
        raise MeasurementError(f"wrk said nothing about {url}:\n{output}")
    said = json.loads(line)
    if said["errors"] or not said["requests"]:
        raise MeasurementError(
            f"{said['errors']} of {said['requests']} requests to {url} failed:\n{output}"
        )
    rate = said["requests"] / (said["duration"] / 1e6)
    return {"requests": rate, "p50": said["p50"], "p99": said["p99"]}
