from __future__ import annotations

import os
import queue
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from control_standin import StandIn, log_line
from portico.wire.api import DeployFailed, SessionClosed, SessionLog

DEADLINE = 30.0


class Serving:
    """A `portico serve` process, and the lines it prints."""

    def __init__(self, env: dict[str, str], folder: Path, *arguments: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "portico", "serve", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=folder,
            env={**env, "PYTHONUNBUFFERED": "1"},
        )
        self.lines: list[str] = []
        self._queue: queue.Queue[str] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._queue.put(line.rstrip("\n"))

    def until(self, text: str) -> str:
        """Read lines until one holds `text`, and return it."""
        deadline = time.monotonic() + DEADLINE
        while True:
            try:
                line = self._queue.get(timeout=max(0.01, deadline - time.monotonic()))
            except queue.Empty:
                pytest.fail(f"no line with {text!r} came; there were:\n" + "\n".join(self.lines))
            self.lines.append(line)
            if text in line:
                return line

    def end(self, number: int = signal.SIGINT) -> int:
        self.process.send_signal(number)
        return self.process.wait(DEADLINE)


@pytest.fixture
def serve(env: dict[str, str], script: Path) -> Iterator[Callable[..., Serving]]:
    running: list[Serving] = []

    def start(*arguments: str) -> Serving:
        serving = Serving(env, script.parent, *arguments)
        running.append(serving)
        return serving

    yield start
    for serving in running:
        serving.process.kill()
        serving.process.wait()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_serve_prints_urls_and_logs_and_a_signal_stops_the_app(
    serve, server: StandIn, number: int
) -> None:
    serving = serve("hello.py")
    serving.until("http://me--square.localhost:1")
    serving.until("Serving until Ctrl-C")
    server.say("ap-1", SessionLog(line=log_line("from the container")))
    assert serving.until("from the container") == "square | from the container"
    assert serving.end(number) == 0
    assert server.stopped == ["ap-1"]


def test_a_save_becomes_the_next_version_of_the_same_app(
    serve, server: StandIn, script: Path, source: str
) -> None:
    serving = serve("hello.py")
    serving.until("Serving")
    for version in (2, 3, 4):
        script.write_text(f"{source}\n# version {version}\n")
        assert "hello.py" in serving.until("Reloaded in")
        assert len(server.manifests) == version
        entry = server.manifests[-1].files[0]
        assert server.blobs[entry.sha256].endswith(f"# version {version}\n".encode())
    assert len(server.created) == 1
    assert serving.end() == 0


def test_touch_and_swap_files_do_not_reload(
    serve, server: StandIn, script: Path, source: str
) -> None:
    serving = serve("hello.py")
    serving.until("Serving")
    os.utime(script)
    script.with_name(".hello.py.swp").write_text("swap")
    script.with_name("other.py").write_text("not of this app")
    script.write_text(source + "\n# real\n")
    serving.until("Reloaded")
    assert len(server.manifests) == 2


def test_a_broken_save_shows_the_traceback_and_the_last_good_version_stays(
    serve, server: StandIn, script: Path, source: str
) -> None:
    serving = serve("hello.py")
    serving.until("Serving")
    script.write_text("def broken(:\n")
    serving.until("SyntaxError")
    serving.until("The last good version goes on serving.")
    assert len(server.manifests) == 1
    assert server.stopped == []
    assert not [line for line in serving.lines if "portico/" in line]
    script.write_text(source + "\n# mended\n")
    serving.until("Reloaded")
    assert len(server.manifests) == 2


def test_a_version_the_server_refuses_keeps_the_last_good_one(
    serve, server: StandIn, script: Path, source: str
) -> None:
    serving = serve("hello.py")
    serving.until("Serving")
    server.fail_deploys_with = DeployFailed(message="a container failed", detail="Traceback of it")
    script.write_text(source + "\n# refused\n")
    serving.until("Traceback of it")
    serving.until("error: a container failed")
    server.fail_deploys_with = None
    script.write_text(source + "\n# taken\n")
    serving.until("Reloaded")


def test_newly_imported_modules_are_followed_even_before_they_exist(
    serve, server: StandIn, script: Path, source: str
) -> None:
    serving = serve("hello.py")
    serving.until("Serving")
    script.write_text("import helper\n" + source)
    serving.until("ModuleNotFoundError")
    serving.until("goes on serving")
    helper = script.with_name("helper.py")
    helper.write_text("A = 1\n")
    serving.until("Reloaded")
    helper.write_text("A = 2\n")
    assert "helper.py" in serving.until("Reloaded")
    assert {entry.path for entry in server.manifests[-1].files} == {"hello.py", "helper.py"}


def test_a_save_while_an_import_hangs_is_not_kept_waiting_by_it(
    serve, server: StandIn, script: Path, source: str
) -> None:
    serving = serve("hello.py")
    serving.until("Serving")
    script.write_text("import time\nprint('it hangs', flush=True)\ntime.sleep(3600)\n")
    serving.until("it hangs")
    script.write_text(source + "\n# mended\n")
    serving.until("Reloaded")
    assert len(server.manifests) == 2


def test_no_reload_ignores_saves(serve, server: StandIn, script: Path, source: str) -> None:
    serving = serve("hello.py", "--no-reload")
    serving.until("Serving until Ctrl-C.")
    script.write_text("def broken(:\n")
    server.say("ap-1", SessionLog(line=log_line("still here")))
    serving.until("still here")
    assert serving.end() == 0
    assert len(server.manifests) == 1


def test_an_app_stopped_from_elsewhere_ends_serve(serve, server: StandIn) -> None:
    serving = serve("hello.py")
    serving.until("Serving")
    server.say("ap-1", SessionClosed(reason="a newer run took its labels over"))
    serving.until("a newer run took its labels over")
    assert serving.process.wait(DEADLINE) == 0


def test_a_lost_server_is_an_error(serve, server: StandIn) -> None:
    serving = serve("hello.py")
    serving.until("Serving")
    server.say("ap-1", None)
    serving.until("error: the connection to the Portico server")
    assert serving.process.wait(DEADLINE) == 1


def test_a_killed_serve_ends_the_session_and_leaves_no_loader(serve, server: StandIn) -> None:
    serving = serve("hello.py")
    serving.until("Serving")
    children = f"/proc/{serving.process.pid}/task/{serving.process.pid}/children"
    if not os.path.exists(children):
        pytest.skip("needs /proc")
    loaders = [os.pidfd_open(int(pid)) for pid in Path(children).read_text().split()]
    assert loaders
    serving.process.kill()
    server.wait_for(lambda: not server.sessions)
    for loader in loaders:
        assert select.select([loader], [], [], DEADLINE)[0], "a loader outlived its CLI"
        os.close(loader)
