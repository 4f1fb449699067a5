from __future__ import annotations

import socket
import time
from collections.abc import Callable
from itertools import count

import pytest
from benchmarks.clients.open_loop import Load
from benchmarks.model import MeasurementError
from plain import Serving, server

ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello"


def answering(seconds: Callable[[int], float], pieces: int = 1) -> Serving:
    """Answers request n of all connections after `seconds(n)`, in so many pieces."""
    numbers = count()

    def serve(connection: socket.socket) -> None:
        while connection.recv(65536):
            time.sleep(seconds(next(numbers)))
            size = -(-len(ANSWER) // pieces)
            for start in range(0, len(ANSWER), size):
                connection.sendall(ANSWER[start : start + size])
                time.sleep(0.01 if pieces > 1 else 0)

    return serve


def test_a_stall_is_paid_for_by_every_request_that_was_due_meanwhile() -> None:
    # The second request stalls the one connection for 0.5 s, in which 49 of the others are due.
    with server(answering(lambda n: 0.5 if n == 1 else 0.0)) as url, Load(url, 1, b"hello") as load:
        found = load.run(60, 100.0)
    assert found["p50"] > 100_000
    assert found["p99"] > 400_000


def test_requests_go_out_at_the_rate_whatever_becomes_of_them() -> None:
    with server(answering(lambda n: 0.1)) as url, Load(url, 32, b"hello") as load:
        load.once()
        found = load.run(100, 200.0)
    assert found["requests"] <= 205
    assert found["p50"] > 100_000


def test_an_answer_in_pieces_is_one_answer() -> None:
    with server(answering(lambda n: 0.0, pieces=3)) as url, Load(url, 2, b"hello") as load:
        assert load.run(4, 1000.0)["p50"] > 20_000


@pytest.mark.parametrize("answer", [ANSWER.replace(b"200", b"503"), b""])
def test_a_request_on_a_schedule_that_fails_ends_the_load(answer: bytes) -> None:
    def serve(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(answer)

    with (
        server(serve) as url,
        Load(url, 1, b"hello") as load,
        pytest.raises(MeasurementError, match=r"503|closed"),
    ):
        load.run(1, 1000.0)
