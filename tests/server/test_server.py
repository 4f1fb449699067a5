"""The whole server as a process, and embedded in one."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import re
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


def start(
    state: Path, *options: str, files: int | None = None, stdin: int | None = None
) -> subprocess.Popen[str]:
    """Start a server, which may open so many `files`."""
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
    if files is not None:
        command = ["sh", "-c", f'ulimit -n {files} && exec "$@"', "sh", *command]
    return subprocess.Popen(command, stdin=stdin, stderr=subprocess.PIPE, text=True)


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


def test_more_clients_than_open_files_are_turned_away_and_leave_the_server_well(state):
    process = start(state, "--web", "127.0.0.1:0", "--api", "127.0.0.1:0", files=256)
    try:
        assert process.stderr is not None
        port = int(re.search(r"web http://127.0.0.1:(\d+)", process.stderr.readline())[1])
        ask = b"GET / HTTP/1.1\r\nHost: nobody\r\n\r\n"
        record = json.loads((state / "client.json").read_text())
        with contextlib.ExitStack() as stack:
            answers = []
            for _ in range(300):
                client = socket.create_connection(("127.0.0.1", port), DEADLINE)
                stack.enter_context(client)
                with contextlib.suppress(ConnectionError):
                    client.sendall(ask)
                answers.append(first_bytes(client)[9:12])
            # The first have their answer, of the others some are told that there is no place.
            assert answers[:149] == [b"404"] * 149
            assert answers[149] == b"503"
            assert set(answers[149:]) <= {b"503", b""}
            assert info(record["url"], record["token"])["pid"] == process.pid
        answer = b""
        while not answer.startswith(b"HTTP/1.1 404 "):  # until the places are free again
            with socket.create_connection(("127.0.0.1", port), DEADLINE) as client:
                client.sendall(ask)
                answer = first_bytes(client)
    finally:
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=DEADLINE)
    assert "Traceback" not in said


def first_bytes(client: socket.socket) -> bytes:
    try:
        return client.recv(65536)
    except ConnectionError:
        return b""


def test_limits_given_on_the_command_line_hold(state):
    options = ("--max-request-headers", "2", "--max-request-head", "1KiB")
    process = start(state, "--web", "127.0.0.1:0", "--api", "127.0.0.1:0", *options)
    try:
        assert process.stderr is not None
        port = int(re.search(r"web http://127.0.0.1:(\d+)", process.stderr.readline())[1])
        for more, status in (
            (b"A: 1\r\n", b"404"),
            (b"A: 1\r\nB: 2\r\n", b"431"),
            (b"A: %b\r\n" % (b"1" * 1024), b"431"),
        ):
            with socket.create_connection(("127.0.0.1", port), DEADLINE) as client:
                client.sendall(b"GET / HTTP/1.1\r\nHost: nobody\r\n" + more + b"\r\n")
                assert first_bytes(client)[9:12] == status
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=DEADLINE)


def test_more_connections_than_open_files_is_a_clear_error(state):
    options = ("--web", "127.0.0.1:0", "--api", "127.0.0.1:0", "--max-connections", "5000")
    process = start(state, *options, files=1024)
    _, err = process.communicate(timeout=DEADLINE)
    assert process.returncode == 1
    assert "max_connections 5000" in err
    assert "ulimit -n" in err
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


@pytest.mark.parametrize("in_terminal", [True, False])
def test_a_hangup_ends_the_server_of_a_terminal_in_order_and_no_other(state, in_terminal):
    terminal, stdin = pty.openpty() if in_terminal else (None, subprocess.DEVNULL)
    inherited = signal.signal(signal.SIGHUP, signal.SIG_DFL)  # which under nohup is to ignore it
    process = start(state, "--web", "127.0.0.1:0", "--api", "127.0.0.1:0", stdin=stdin)
    signal.signal(signal.SIGHUP, inherited)
    assert process.stderr is not None
    try:
        assert process.stderr.readline().startswith("ready")
        process.send_signal(signal.SIGHUP)
        if not in_terminal:
            record = json.loads((state / "client.json").read_text())
            assert info(record["url"], record["token"])["pid"] == process.pid
            process.send_signal(signal.SIGTERM)
        assert process.wait(DEADLINE) == 0
        assert not (state / "client.json").exists()
    finally:
        process.kill()
        process.wait()
        process.stderr.close()
        for descriptor in (terminal, stdin) if terminal is not None else ():
            os.close(descriptor)
