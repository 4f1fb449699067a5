"""The leash with real processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable

import pytest

from portico.images.leash import ORDERED_TO_END, leashed

Watch = Callable[[int], Callable[[], bool]]

# Says its own process id and that of a child that has left its group and session.
DAEMONIZING = """
import os, sys, time
reader, writer = os.pipe()
if os.fork() == 0:
    os.setsid()
    if os.fork():
        os._exit(0)
    os.write(writer, str(os.getpid()).encode())
    time.sleep(3600)
daemon = os.read(reader, 20).decode()
print(os.getpid(), daemon, flush=True)
if "stay" in sys.argv:
    time.sleep(3600)
"""

STARTER = """
import subprocess, sys, time
from portico.images.leash import leashed
process = subprocess.Popen(
    leashed([sys.executable, "-c", sys.argv[1], "stay"]), stdin=subprocess.PIPE, start_new_session=True
)
time.sleep(3600)
"""


def start(*command: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        leashed(command), stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
    )


def pids(process: subprocess.Popen[bytes]) -> list[int]:
    assert process.stdout is not None
    return [int(word) for word in process.stdout.readline().split()]


@pytest.mark.parametrize(
    ("script", "status"), [("exit 0", 0), ("exit 7", 7), ("kill -SEGV $$", 128 + signal.SIGSEGV)]
)
def test_status_is_the_commands(script: str, status: int) -> None:
    with start("sh", "-c", script) as process:
        assert process.wait(30) == status


def test_command_that_is_not_there_is_said() -> None:
    with subprocess.Popen(
        leashed(["/no/such/command"]), stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.wait(30) == 127
        assert process.stderr is not None
        assert process.stderr.read() == "/no/such/command: No such file or directory\n"


def test_command_reads_nothing_and_holds_no_descriptor_but_its_output() -> None:
    script = (
        "import os, sys; print(sys.stdin.read() == '', sorted(map(int, os.listdir('/dev/fd'))))"
    )
    reader, writer = os.pipe()
    with subprocess.Popen(
        leashed([sys.executable, "-c", script]),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        pass_fds=(reader, writer),
        text=True,
    ) as process:
        assert process.stdout is not None
        # 3 is the listing's own.
        assert process.stdout.read() == "True [0, 1, 2, 3]\n"
    os.close(reader)
    os.close(writer)


@pytest.mark.parametrize("how", ["let go", "terminate"])
def test_every_process_ends_when_told(watch: Watch, how: str) -> None:
    with start(sys.executable, "-c", DAEMONIZING, "stay") as process:
        gone = [watch(pid) for pid in pids(process)]
        if how == "let go":
            assert process.stdin is not None
            process.stdin.close()
        else:
            process.terminate()
        assert process.wait(30) == ORDERED_TO_END
        assert len(gone) == 2
        assert all(is_gone() for is_gone in gone)


@pytest.mark.skipif(sys.platform != "linux", reason="needs PR_SET_CHILD_SUBREAPER (Linux)")
def test_daemon_left_behind_by_a_finished_command_ends() -> None:
    with start(sys.executable, "-c", DAEMONIZING) as process:
        # The leash ends last: its end means that the daemon's id is free.
        _, daemon = pids(process)
        assert process.wait(30) == 0
        with pytest.raises(ProcessLookupError):
            os.kill(daemon, 0)


def test_every_process_ends_when_the_starter_is_killed(watch: Watch) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", STARTER, DAEMONIZING], stdout=subprocess.PIPE
    ) as starter:
        gone = [watch(pid) for pid in pids(starter)]
        starter.kill()
        assert len(gone) == 2
        assert all(is_gone() for is_gone in gone)


def test_command_ends_when_the_leash_itself_is_killed(watch: Watch) -> None:
    if sys.platform != "linux":
        pytest.skip("needs PR_SET_PDEATHSIG (Linux)")
    with start(
        sys.executable, "-c", "import os, time; print(os.getpid(), flush=True); time.sleep(99)"
    ) as process:
        gone = watch(pids(process)[0])
        process.kill()
        assert gone()
