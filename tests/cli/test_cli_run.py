from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from control_standin import StandIn

ENTRY = """
import portico
app = portico.App("jobs")

@app.function()
def double(x: int, *, loud: bool = False):
    return 2 * x

@app.local_entrypoint()
def main(n: int = 3, name: str = "nobody", ratio: float | None = None, dry: bool = True):
    print("here", n, name, ratio, dry)
    print("there", double.remote(n))

@app.local_entrypoint()
async def slowly(n: int):
    print("async", await double.remote.aio(n))

@app.local_entrypoint()
def fails():
    {}["missing"]
"""


@pytest.fixture
def jobs(script: Path) -> Path:
    path = script.with_name("jobs.py")
    path.write_text(ENTRY)
    return path


def test_an_entrypoint_runs_here_with_typed_arguments(portico, server: StandIn, jobs: Path) -> None:
    done = portico("run", "jobs.py::main", "--n", "4", "--name", "x y", "--ratio=0.5", "--no-dry")
    assert done.returncode == 0, done.stderr
    # The stand-in answers a call with its own arguments.
    assert done.stdout == "here 4 x y 0.5 False\nthere ((4,), {})\n"
    assert server.created[0].ephemeral
    assert server.stopped == ["ap-1"]


def test_an_async_entrypoint_runs(portico, jobs: Path) -> None:
    assert portico("run", "jobs.py::slowly", "--n", "1").stdout == "async ((1,), {})\n"


def test_a_plain_function_runs_there_and_its_result_is_printed(portico, jobs: Path) -> None:
    done = portico("run", "jobs.py::double", "--x", "5", "--loud")
    assert done.returncode == 0, done.stderr
    assert done.stdout == "((), {'x': 5, 'loud': True})\n"


def test_what_follows_the_file_is_the_functions_whatever_it_is_called(
    portico, server: StandIn, jobs: Path
) -> None:
    jobs.write_text(ENTRY.replace("slowly(n: int)", "slowly(n: int, env: str)"))
    done = portico("run", "-e", "dev", "jobs.py::slowly", "--env", "prod", "--n", "1")
    assert done.stdout == "async ((1,), {})\n", done.stderr
    assert server.created[0].environment == "dev"
    for options in (["--help"], ["--", "--help"]):
        listed = portico("run", "jobs.py::slowly", *options)
        assert listed.returncode == 0
        assert "--env ENV" in listed.stdout


def test_the_users_exception_is_a_trimmed_traceback_and_exit_1(
    portico, server: StandIn, jobs: Path
) -> None:
    done = portico("run", "jobs.py::fails")
    assert done.returncode == 1
    assert "KeyError: 'missing'" in done.stderr
    assert "portico/" not in done.stderr
    assert server.stopped == ["ap-1"]


def test_what_to_run_must_be_clear(portico, jobs: Path) -> None:
    done = portico("run", "jobs.py")
    assert done.returncode == 1
    assert "jobs.py::main" in done.stderr
    assert "slowly" in done.stderr
    assert "has nothing to run called 'nope'" in portico("run", "jobs.py::nope").stderr


def test_no_bytecode_is_left_beside_the_users_files(
    env: dict[str, str], jobs: Path, script: Path
) -> None:
    jobs.with_name("mine.py").write_text("X = 1\n")
    jobs.write_text(f"import mine\n{ENTRY}")
    done = subprocess.run(
        [sys.executable, "-m", "portico", "run", "jobs.py::main"],
        cwd=jobs.parent,
        env={name: value for name, value in env.items() if name != "PYTHONDONTWRITEBYTECODE"},
        capture_output=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in jobs.parent.iterdir()) == ["hello.py", "jobs.py", "mine.py"]


def test_a_single_function_needs_no_name(portico) -> None:
    done = portico("run", "hello.py", "--x", "1")
    assert done.returncode == 0, done.stderr
    assert done.stdout == "imported\n((), {'x': 1})\n"


@pytest.mark.parametrize(
    "arguments",
    [("--n", "many"), ("--unknown", "1"), ("stray",)],
    ids=" ".join,
)
def test_wrong_arguments_are_exit_code_2(
    portico, server: StandIn, jobs: Path, arguments: tuple[str, ...]
) -> None:
    done = portico("run", "jobs.py::main", *arguments)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert server.created == []


def test_an_exit_status_of_the_users_own_is_kept(portico, server: StandIn, jobs: Path) -> None:
    jobs.write_text(ENTRY.replace('{}["missing"]', "raise SystemExit(7)"))
    assert portico("run", "jobs.py::fails").returncode == 7
    assert server.stopped == ["ap-1"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_stops_its_app_and_has_failed(
    env: dict[str, str], server: StandIn, jobs: Path, number: int
) -> None:
    jobs.write_text(
        ENTRY.replace('{}["missing"]', "print('begun', flush=True); import time; time.sleep(3600)")
    )
    running = subprocess.Popen(
        [sys.executable, "-m", "portico", "run", "jobs.py::fails"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=env,
        cwd=jobs.parent,
    )
    assert running.stdout is not None
    assert running.stdout.readline() == "begun\n"
    running.send_signal(number)
    _, errors = running.communicate(timeout=30)
    assert running.returncode == 1
    assert "Traceback" not in errors
    assert server.stopped == ["ap-1"]
