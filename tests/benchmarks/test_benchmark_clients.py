"""The clients of the suites, against servers that do as they must and servers that do not."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from benchmarks.apps import echo, streams
from benchmarks.clients import stream, websocket
from benchmarks.model import MeasurementError
from benchmarks.processes import background
from plain import server, uvicorn_in_thread

from benchmarks import clients

UPGRADED = b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\n\r\n"


@pytest.fixture(scope="module")
def echoing() -> Iterator[str]:
    with uvicorn_in_thread(echo.raw) as url:
        yield url


@pytest.fixture(scope="module")
def streaming() -> Iterator[str]:
    with uvicorn_in_thread(streams.raw) as url:
        yield url


@pytest.mark.parametrize("size", [0, 125, 126, 65535, 65536, 200_000])
def test_messages_of_every_length_come_back_and_are_counted(echoing: str, size: int) -> None:
    found = websocket.echo(echoing, 3, size, 0.05)
    assert found["rate"] > 0
    assert 0 < found["p50"] <= found["p99"]


def test_a_masked_frame_is_the_one_of_the_rfc() -> None:
    # RFC 6455, section 5.7, with our mask in place of its own.
    assert websocket.frame(0x81, b"Hello") == b"\x81\x05Hello"
    masked = websocket.frame(0x81, b"Hello", b"\x37\xfa\x21\x3d")
    assert masked == b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58"


def test_connections_are_opened_and_closed_by_both_sides(echoing: str) -> None:
    assert websocket.open_and_close(echoing, 4, 0.1)["rate"] > 0


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n",
        b"",
        UPGRADED + b"\x82\x04nope",
        UPGRADED + b"\x82\x04no",
    ],
)
def test_what_is_no_echo_is_no_measurement(answer: bytes) -> None:
    def serve(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(answer[: len(UPGRADED)])
        if answer.startswith(UPGRADED):
            connection.recv(65536)
            connection.sendall(answer[len(UPGRADED) :])

    with server(serve) as url, pytest.raises(MeasurementError):
        websocket.echo(url, 1, 4, 0.05)


def test_bodies_go_both_ways_whole(streaming: str) -> None:
    size = 3 * (1 << 20) + 7
    assert stream.upload(streaming, size)["rate"] > 0
    assert stream.download(streaming, size)["rate"] > 0


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n12345",
        b"HTTP/1.1 502 Bad Gateway\r\ncontent-length: 10\r\n\r\n1234567890",
    ],
)
def test_a_body_that_is_cut_or_an_error_is_no_measurement(answer: bytes) -> None:
    def serve(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(answer)

    for transfer in (stream.upload, stream.download):
        with server(serve) as url, pytest.raises(MeasurementError):
            transfer(url, 10)


def test_every_event_of_every_stream_is_waited_for(streaming: str) -> None:
    found = stream.events(streaming, 3, 5, 1)
    assert 0 < found["p50"] <= found["p99"]
    assert found["first"] > 0


def test_a_stream_that_ends_early_is_no_measurement() -> None:
    def serve(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\ndata: 1\n\n")

    with server(serve) as url, pytest.raises(MeasurementError, match="closed"):
        stream.events(url, 1, 2, 1)


@pytest.mark.parametrize("what", ["requests", "websockets"])
def test_connections_are_held_until_the_end(echoing: str, what: str, tmp_path: Path) -> None:
    command = clients.command("hold", what, echoing, 20)
    with background(command, folder=tmp_path / "held", env=clients.environ()) as process:
        process.wait_for(lambda: process.output.startswith("open") or None, "`open`")
    assert process.output.split() == ["open", "20"]


def test_a_connection_that_is_closed_meanwhile_is_not_counted(tmp_path: Path) -> None:
    def serve(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")

    with server(serve) as url:
        command = clients.command("hold", "requests", url, 3)
        with background(command, folder=tmp_path / "held", env=clients.environ()) as process:
            process.wait_for(lambda: process.output.startswith("open") or None, "`open`")
    assert process.output.split() == ["open", "0"]


def test_a_client_in_its_own_process_prints_its_sample(echoing: str) -> None:
    assert clients.sample("websocket", "echo", echoing, 2, 16, 0.1)["rate"] > 0


def test_a_client_that_fails_is_explained() -> None:
    with pytest.raises(MeasurementError, match="ConnectionRefusedError"):
        clients.sample("stream", "upload", "http://127.0.0.1:1", 10)
