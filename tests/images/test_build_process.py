"""Commands of a build: output by line, cancellation, and the environment they get."""

from __future__ import annotations

import asyncio
import fcntl
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import uvloop

from portico.images.process import LONGEST_LINE, build_environment, run


def said_by(script: str, tmp_path: Path) -> list[str]:
    lines: list[str] = []
    command = [sys.executable, "-c", script]
    status = asyncio.run(run(command, env=dict(os.environ), cwd=tmp_path, said=lines.append))
    assert status == 0
    return lines


def test_both_streams_come_line_by_line(tmp_path: Path) -> None:
    script = (
        "import sys; print('out', flush=True); print('err', file=sys.stderr); print('end', end='')"
    )
    assert said_by(script, tmp_path) == ["out", "err", "end"]


def test_lines_of_any_length_and_bytes_come_through(tmp_path: Path) -> None:
    script = f"import os; os.write(1, b'x' * {3 * LONGEST_LINE}); os.write(1, b'\\xff\\r\\n\\xe2\\x82'); os.write(1, b'\\xac\\n')"
    lines = said_by(script, tmp_path)
    assert "".join(lines[:-1]) == "x" * 3 * LONGEST_LINE + "\ufffd"
    assert max(map(len, lines)) <= 2 * LONGEST_LINE
    assert lines[-1] == "€"


@pytest.mark.parametrize("new_loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_cancellation_returns_when_the_processes_are_gone(
    tmp_path: Path, new_loop: Callable[[], asyncio.AbstractEventLoop]
) -> None:
    async def scenario() -> int:
        started: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        script = "import os, time; print(os.getpid(), flush=True); time.sleep(3600)"
        task = asyncio.create_task(
            run(
                [sys.executable, "-c", script],
                env=dict(os.environ),
                cwd=tmp_path,
                said=lambda line: started.set_result(int(line)),
            )
        )
        pid = await asyncio.wait_for(started, 30)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return pid

    with asyncio.Runner(loop_factory=new_loop) as runner:
        pid = runner.run(scenario())
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


@pytest.mark.parametrize("new_loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_a_lock_that_is_held_is_free_only_when_the_processes_are_gone(
    tmp_path: Path, new_loop: Callable[[], asyncio.AbstractEventLoop]
) -> None:
    async def scenario() -> None:
        started = asyncio.Event()
        lock = os.open(tmp_path / "lock", os.O_RDWR | os.O_CREAT)
        fcntl.flock(lock, fcntl.LOCK_EX)
        task = asyncio.create_task(
            run(
                ["sh", "-c", "echo started; exec sleep 3600"],
                env=dict(os.environ),
                cwd=tmp_path,
                said=lambda line: started.set(),
                hold=(lock,),
            )
        )
        await asyncio.wait_for(started.wait(), 30)
        os.close(lock)  # as the death of this process would
        other = os.open(tmp_path / "lock", os.O_RDWR)
        with pytest.raises(BlockingIOError):
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
        task.cancel()
        await asyncio.wait([task])
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.close(other)

    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(scenario())


def test_builds_get_what_reaches_an_index_and_no_secret() -> None:
    kept = {
        "PATH": "/bin",
        "HOME": "/h",
        "https_proxy": "http://proxy",
        "NO_PROXY": "x",
        "SSL_CERT_FILE": "/c",
        "UV_INDEX_MIRROR_PASSWORD": "p",
        "LC_ALL": "C",
    }
    dropped = {
        "PORTICO_TOKEN": "t",
        "AWS_SECRET_ACCESS_KEY": "k",
        "UV_PUBLISH_TOKEN": "t",
        "UV_SYSTEM_PYTHON": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONPATH": "/elsewhere",
        "VIRTUAL_ENV": "/v",
    }
    env = build_environment({**kept, **dropped})
    assert kept.items() <= env.items()
    assert not dropped.keys() & env.keys()
    assert env["UV_PYTHON_DOWNLOADS"] == "never"


def test_recipes_variables_win_over_the_servers_but_cannot_redirect_the_build() -> None:
    recipe = {"CFLAGS": "-O1", "UV_INDEX_STRATEGY": "first-index", "UV_PYTHON": "2.7"}
    env = build_environment({"UV_INDEX_STRATEGY": "unsafe-first-match"}, recipe)
    assert env["CFLAGS"] == "-O1"
    assert env["UV_INDEX_STRATEGY"] == "first-index"
    assert "UV_PYTHON" not in env
