"""The whole server as a process, and embedded in one."""

from __future__ import annotations

import json
import os
import signal
import socket
import stat
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from portico.server.config import ServerSettings
from portico.server.embedded import EmbeddedServer

DEADLINE = 30


def start(state: Path, *options: str) -> subprocess.Popen[str]:
    command = [
        sys.executable,
        "-m",
        "portico",
        "server",
        "run",
        "--state-dir",
        str(state),
        *options,
    ]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True)


def info(url: str, token: str) -> dict[str, object]:
    request = urllib.request.Request(
        f"{url}/v1/server", headers={"authorization": f"Bearer {token}"}
    )
    with urllib.request.urlopen(request, timeout=DEADLINE) as answer:
        return json.load(answer)


@pytest.fixture
def state(tmp_path):
    return tmp_path / "state"


@pytest.fixture
def server(state):
    process = start(state, "--web", "127.0.0.1:0", "--api", "127.0.0.1:0")
    assert process.stderr is not None
    assert process.stderr.readline().startswith("ready")
    yield process
    process.kill()
    process.wait()
    process.stderr.close()


def test_server_leaves_word_where_it_is_found_and_takes_it_away(server, state):
    record_file = state / "client.json"
    assert stat.S_IMODE(record_file.stat().st_mode) == 0o600
    assert stat.S_IMODE(state.stat().st_mode) == 0o700
    record = json.loads(record_file.read_text())
    assert record["pid"] == server.pid
    assert info(record["url"], record["token"])["pid"] == server.pid
    with pytest.raises(urllib.error.HTTPError, match="401"):
        info(record["url"], "tk-wrong.token")
    server.send_signal(signal.SIGTERM)
    assert server.wait(DEADLINE) == 0
    assert not record_file.exists()


def test_second_server_on_a_state_folder_is_refused(server, state):
    second = start(state, "--web", "127.0.0.1:0", "--api", "127.0.0.1:0")
    _, err = second.communicate(timeout=DEADLINE)
    assert second.returncode == 1
    assert str(server.pid) in err
    assert "Traceback" not in err


def test_taken_port_is_a_clear_error(state):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        process = start(state, "--web", f"127.0.0.1:{port}", "--api", "127.0.0.1:0")
        _, err = process.communicate(timeout=DEADLINE)
    assert process.returncode == 1
    assert str(port) in err
    assert "Traceback" not in err


def test_embedded_servers_share_a_state_folder_and_avoid_each_others_ports(state, monkeypatch):
    monkeypatch.delenv("PORTICO_CONFIG", raising=False)
    with socket.create_server(("127.0.0.1", 0)) as free:
        web = f"127.0.0.1:{free.getsockname()[1]}"
    settings = ServerSettings(state_dir=state, web=web, api="127.0.0.1:0")
    before = threading.active_count()
    with EmbeddedServer(settings) as first:
        assert first.web_url == f"http://{web}"
        with EmbeddedServer(settings) as second:
            assert second.web_url != first.web_url
            assert info(second.url, second.token)["embedded"] is True
        assert info(first.url, first.token)["pid"] == os.getpid()
    assert threading.active_count() <= before + 1
    assert not list(state.glob("*.json"))


def test_embedded_server_that_cannot_start_says_why(tmp_path):
    (tmp_path / "file").write_text("")
    settings = ServerSettings(state_dir=tmp_path / "file" / "state")
    with EmbeddedServer(settings) as server, pytest.raises(OSError):
        server.wait_ready()
