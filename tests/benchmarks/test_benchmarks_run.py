"""The runner end to end, on a real server with real containers, as quick as it goes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent


def benchmarks(*arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "benchmarks", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=150,
        env={**os.environ, **more},
    )


def test_a_quick_cold_start_measures_every_row_and_leaves_nothing(tmp_path: Path) -> None:
    done = benchmarks("cold-start", "--quick", TMPDIR=str(tmp_path))
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    for name in ("import fastapi", "fastapi_endpoint", "asgi_app, FastAPI", "asgi_app, raw"):
        (row,) = [line for line in lines if name in line and "│" in line]
        measured = row.split("│")[2].strip()
        assert float(measured) > 0, row
    assert "Cold start of a fastapi_endpoint, p50" in done.stdout
    assert list(tmp_path.glob("portico-bench-*")) == []
    assert left_behind(tmp_path) == []


def test_quick_events_are_measured_where_there_is_no_proxy_to_compare_with(tmp_path: Path) -> None:
    done = benchmarks("events", "--quick", PATH=str(tmp_path), TMPDIR=str(tmp_path))
    assert done.returncode == 0, done.stdout + done.stderr
    for name, count in (("direct uvicorn", 2), ("Portico", 2)):
        rows = [line for line in done.stdout.splitlines() if name in line and "│" in line]
        assert len(rows) == count
        assert all(float(row.split("│")[2].strip().replace(",", "")) > 0 for row in rows)
    assert done.stdout.count("nginx is not installed") == 2
    assert done.stdout.count("haproxy is not installed") == 2
    assert left_behind(tmp_path) == []


def test_a_run_that_is_terminated_leaves_nothing(tmp_path: Path) -> None:
    run = subprocess.Popen(
        [sys.executable, "-m", "benchmarks", "cold-start", "--quick"],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(tmp_path)},
    )
    assert run.stderr is not None
    with run.stderr as steps:
        reached = any("warming up" in step for step in steps)
        assert reached
        assert left_behind(tmp_path) != []
        run.terminate()
        steps.read()
    assert run.wait(timeout=60) == 128 + signal.SIGTERM
    assert list(tmp_path.glob("portico-bench-*")) == []
    assert left_behind(tmp_path) == []


def test_throughput_without_wrk_says_so_and_succeeds(tmp_path: Path) -> None:
    done = benchmarks("throughput", "--quick", PATH=str(tmp_path), TMPDIR=str(tmp_path))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "wrk is not installed" in done.stdout
    assert "not measured" in done.stdout


@pytest.mark.parametrize("arguments", [["nonsense"], ["--quick", "--write"]])
def test_wrong_usage_is_refused_before_anything_runs(arguments: list[str]) -> None:
    done = benchmarks(*arguments)
    assert done.returncode == 2
    assert "error:" in done.stderr


def left_behind(folder: Path) -> list[str]:
    """Processes whose environment names `folder`."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if os.fsencode(folder) in (process / "environ").read_bytes():
                found.append((process / "cmdline").read_bytes().decode(errors="replace"))
        except OSError:
            continue
    return found
