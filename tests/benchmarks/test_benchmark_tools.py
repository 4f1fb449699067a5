from __future__ import annotations

import os
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import get_args

import pytest
from benchmarks.http import get
from benchmarks.machine import this_machine
from benchmarks.model import MeasurementError
from benchmarks.processes import background, checked, clean_environ, processor_time
from benchmarks.proxy import Traffic
from benchmarks.suites.serve import served_url
from benchmarks.wrk import sample_of

from benchmarks import haproxy, nginx

Answering = Callable[[bytes], str]


@pytest.fixture
def answering() -> Iterator[Answering]:
    """`answering(bytes)` is the URL of a server that answers them once."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threads: list[threading.Thread] = []

        def serve(data: bytes) -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(data)

        def answer(data: bytes) -> str:
            threads.append(threading.Thread(target=serve, args=(data,)))
            threads[-1].start()
            return f"http://127.0.0.1:{listener.getsockname()[1]}"

        yield answer
        for thread in threads:
            thread.join()


def test_an_answer_is_taken_apart(answering: Answering) -> None:
    url = answering(
        b"HTTP/1.1 200 OK\r\nServer-Timing: queue;dur=1.0, boot;dur=12.5, import;dur=3\r\n\r\nhi"
    )
    answer = get(url)
    assert (answer.status, answer.body) == (200, b"hi")
    assert answer.server_timing == {"queue": 1.0, "boot": 12.5, "import": 3.0}
    assert answer.seconds > 0


def test_a_warm_answer_has_no_timing(answering: Answering) -> None:
    assert get(answering(b"HTTP/1.1 200 OK\r\n\r\n")).server_timing == {}


def test_a_connection_closed_without_an_answer_is_an_error(answering: Answering) -> None:
    with pytest.raises(ConnectionError):
        get(answering(b""))


def test_wrk_figures_become_a_sample() -> None:
    output = 'Running 2s test\n\n{"requests": 5000, "duration": 2000000, "errors": 0, "p50": 90, "p99": 400}\n'
    assert sample_of(output, "u") == {"requests": 2500, "p50": 90, "p99": 400}


@pytest.mark.parametrize(
    "output",
    [
        '{"requests": 5000, "duration": 2000000, "errors": 3, "p50": 90, "p99": 400}',
        '{"requests": 0, "duration": 2000000, "errors": 0, "p50": 0, "p99": 0}',
        "unable to connect",
    ],
)
def test_load_with_failed_requests_is_no_measurement(output: str) -> None:
    with pytest.raises(MeasurementError):
        sample_of(output, "u")


def test_the_loopback_url_is_read_once_its_line_is_whole() -> None:
    tree = (
        "app (ap-1)\n└── hello  fastapi_endpoint\n    ├── http://root--app-hello.localhost:8400\n"
    )
    assert served_url(tree) is None
    assert served_url(tree + "    └── http://127.0.0.1:451") is None
    assert served_url(tree + "    └── http://127.0.0.1:45137\n") == "http://127.0.0.1:45137"


def test_nginx_proxies_each_port_to_its_socket() -> None:
    text = nginx.configuration(
        "/d", {"a": "/d/a.sock", "b": "/d/b.sock"}, {"a": 1001, "b": 1002}, "requests"
    )
    for name, port in (("a", 1001), ("b", 1002)):
        assert f"listen 127.0.0.1:{port} " in text
        assert f"server unix:/d/{name}.sock;" in text
        assert f"proxy_pass http://{name};" in text


def test_nginx_streams_and_upgrades_where_it_is_told_to() -> None:
    for traffic in get_args(Traffic):
        text = nginx.configuration("/d", {"a": "/d/a.sock"}, {"a": 1001}, traffic)
        assert ("proxy_request_buffering off;" in text) is (traffic == "streams")
        assert ("proxy_set_header Upgrade" in text) is (traffic == "websockets")
        assert text.count("{") == text.count("}")


def test_haproxy_proxies_each_port_to_its_socket() -> None:
    text = haproxy.configuration(
        {"a": "/d/a.sock", "b": "/d/b.sock"}, {"a": 1001, "b": 1002}, "requests"
    )
    for name, port in (("a", 1001), ("b", 1002)):
        site = text.partition(f"frontend {name}\n")[2].partition("frontend")[0]
        assert f"bind 127.0.0.1:{port} " in site
        assert f"server uvicorn unix@/d/{name}.sock " in site


def test_what_benchmarks_start_sees_no_setting_of_python_or_portico(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    monkeypatch.setenv("PORTICO_SERVER_URL", "http://elsewhere.invalid")
    environ = clean_environ(PORTICO_RATE_LIMIT="none")
    assert [name for name in environ if name.startswith(("PYTHON", "PORTICO_"))] == [
        "PORTICO_RATE_LIMIT"
    ]
    assert environ["PATH"] == os.environ["PATH"]


def test_a_process_that_ends_early_is_explained_with_its_output(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "raise SystemExit('no port left')"]
    with (
        background(command, folder=tmp_path / "p", env=clean_environ()) as process,
        pytest.raises(MeasurementError, match="no port left"),
    ):
        process.wait_for(lambda: None, "`ready`")


def test_a_background_process_is_gone_when_its_context_is_left(tmp_path: Path) -> None:
    code = "import os, signal; print(os.getpid(), flush=True); signal.pause()"
    with background(
        [sys.executable, "-c", code], folder=tmp_path / "p", env=clean_environ()
    ) as process:
        pid = int(process.wait_for(lambda: process.output.strip() or None, "the pid"))
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="there is no /proc here")
def test_processor_time_is_that_of_the_one_process_and_not_of_waiting(tmp_path: Path) -> None:
    code = (
        "import time\nwhile time.process_time() < 0.3: pass\nprint(1, flush=True); time.sleep(60)"
    )
    command = [sys.executable, "-c", code, "a name) with (parentheses"]
    before = processor_time(os.getpid())
    with background(command, folder=tmp_path / "p", env=clean_environ()) as process:
        process.wait_for(lambda: process.output.strip() or None, "the end of its work")
        assert 0.25 < processor_time(process.pid) < 5
    assert 0 < before <= processor_time(os.getpid())


def test_a_command_that_fails_is_explained_with_its_output(tmp_path: Path) -> None:
    with pytest.raises(MeasurementError, match=r"ended with 1:\nbroken"):
        checked(
            [sys.executable, "-c", "raise SystemExit('broken')"], env=clean_environ(), cwd=tmp_path
        )


def test_the_machine_is_described_without_its_name_or_paths() -> None:
    machine = this_machine()
    said = repr(machine)
    assert machine.cores >= 1
    assert machine.tools["portico"]
    assert socket.gethostname() not in said
    assert str(Path.home()) not in said
