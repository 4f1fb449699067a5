from __future__ import annotations

import os
import resource
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from benchmarks.home import Home
from benchmarks.peers import Peer
from benchmarks.processes import background, clean_environ, end_marked, open_files
from benchmarks.suites.peers import LENGTH, MARK, Peers, shortened

from benchmarks import memory

needs_proc = pytest.mark.skipif(not memory.readable(), reason="this system has no /proc")
GROWS = """
import sys
print("ready", flush=True)
for line in sys.stdin:
    block = b"x" * (64 << 20)
    del block
    print("done", flush=True)
"""


@needs_proc
def test_a_peak_is_seen_when_it_is_over_and_can_be_forgotten() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", GROWS], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdout.readline()
        memory.forget_peak(process.pid)
        before = memory.resident(process.pid)
        process.stdin.write(b"\n")
        process.stdin.flush()
        process.stdout.readline()
        assert memory.peak(process.pid) - before > 60 << 20
        memory.forget_peak(process.pid)
        assert memory.peak(process.pid) - before < 30 << 20
        assert process.pid in memory.children(os.getpid())
        process.stdin.close()


@needs_proc
def test_what_has_left_its_group_is_ended_by_its_mark(tmp_path: Path) -> None:
    marked, other = ({**clean_environ(), MARK: value} for value in ("this", "that"))
    sleeping = [sys.executable, "-c", "import signal; print('up', flush=True); signal.pause()"]
    with (
        background(sleeping, folder=tmp_path / "marked", env=marked) as one,
        background(sleeping, folder=tmp_path / "other", env=other) as two,
    ):
        for process in (one, two):
            process.wait_for(lambda process=process: "up" in process.output or None, "`up`")  # type: ignore[misc]
        end_marked(MARK, "this")
        one._process.wait(10)
        assert two._process.poll() is None


def test_more_open_files_than_are_allowed_are_refused_with_the_number() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert open_files(soft) == ""
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == (soft, hard)
    if hard != resource.RLIM_INFINITY:
        assert open_files(hard + 1) == f"only {hard:,} open files are allowed"


@pytest.fixture
def peers(tmp_path: Path) -> Peers:
    home = Home(tmp_path, clean_environ(), Path(sys.executable))
    return Peers(home)


def peer(code: str, requirement: Path) -> Peer:
    return Peer(
        "Peer 1.0",
        (str(requirement),),
        lambda programs, folder, port: [programs / "python", "-c", code, str(port)],
    )


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A package of which there is nothing to download."""
    wheel = tmp_path / "package-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as file:
        file.writestr("package.py", "")
        info = "package-1.0.dist-info"
        file.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: package\nVersion: 1.0\n")
        file.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        file.writestr(f"{info}/RECORD", "")
    return wheel


@needs_proc
def test_a_peer_has_an_environment_and_a_home_of_its_own_and_leaves_nothing(
    peers: Peers, package: Path, tmp_path: Path
) -> None:
    code = """
import http.server, os, package, subprocess, sys
open(os.path.expanduser("~/litter"), "w").close()
subprocess.Popen(["sleep", "1000"], start_new_session=True)
http.server.test(http.server.SimpleHTTPRequestHandler, port=int(sys.argv[1]), bind="127.0.0.1")
"""
    programs, reason = peers.installed(peer(code, package))
    assert reason == ""
    assert programs.is_relative_to(tmp_path)
    (litter,) = tmp_path.rglob("litter")
    assert not (Path.home() / litter.name).exists()
    assert left_behind(tmp_path) == []


def test_a_peer_that_cannot_be_started_says_why(peers: Peers, package: Path) -> None:
    _, reason = peers.installed(peer("raise SystemExit('no such thing')", package))
    assert reason == "no such thing"


def test_a_peer_that_cannot_be_installed_says_why(peers: Peers, tmp_path: Path) -> None:
    _, reason = peers.installed(peer("", tmp_path / "absent.whl"))
    assert reason
    assert len(reason) <= LENGTH


def test_a_reason_is_the_last_thing_that_was_said_in_the_room_of_a_cell() -> None:
    assert shortened("uv ended with 1:\n\n  × no network \n\n") == "× no network"
    assert shortened("x" * 100) == "x" * (LENGTH - 1) + "…"


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
