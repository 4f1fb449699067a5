from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from portico.runner.joining import MAX_JOINED, JoiningTransport

HEAD = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n"


class Wire(asyncio.Transport):
    """Notes what is written to it."""

    def __init__(self) -> None:
        super().__init__()
        self.writes: list[bytes] = []
        self.closed = False

    def write(self, data) -> None:
        self.writes.append(bytes(data))

    def close(self) -> None:
        self.closed = True

    def is_closing(self) -> bool:
        return self.closed

    def set_protocol(self, protocol) -> None:
        self.protocol = protocol


class Loop:
    """Turns when a test says so."""

    def __init__(self) -> None:
        self.soon: list[Callable[[], None]] = []

    def call_soon(self, callback) -> None:
        self.soon.append(callback)

    def turn(self) -> None:
        soon, self.soon = self.soon, []
        for callback in soon:
            callback()


@pytest.fixture
def wire():
    return Wire()


@pytest.fixture
def loop():
    return Loop()


@pytest.fixture
def transport(wire, loop):
    return JoiningTransport(wire, loop)


def test_writes_of_one_turn_leave_as_one_with_the_next(wire, loop, transport):
    transport.write(HEAD)
    transport.write(b"ok")
    assert wire.writes == []
    loop.turn()
    assert wire.writes == [HEAD + b"ok"]
    transport.write(b"more")
    loop.turn()
    assert wire.writes[1:] == [b"more"]


def test_nothing_is_sent_twice_where_the_handler_ends_within_the_turn(wire, loop, transport):
    transport.write(HEAD)
    transport.flush()
    assert wire.writes == [HEAD]
    loop.turn()
    assert wire.writes == [HEAD]
    transport.write(b"next")
    loop.turn()
    assert wire.writes == [HEAD, b"next"]
    assert loop.soon == []


def test_writes_behind_a_flush_in_the_same_turn_leave_with_the_next(wire, loop, transport):
    transport.write(b"a")
    transport.flush()
    transport.write(b"b")
    loop.turn()
    assert wire.writes == [b"a", b"b"]


def test_end_is_told_in_the_head_that_has_not_left(wire, transport):
    transport.expect_head()
    transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    transport.write(HEAD)
    transport.write(b"ok")
    assert transport.tell_end(7)
    transport.flush()
    told = HEAD[:-2] + b"x-portico-ended: 7\r\n\r\nok"
    assert wire.writes == [b"HTTP/1.1 100 Continue\r\n\r\n" + told]


def test_end_is_not_told_once_the_head_has_left_nor_in_a_body_that_looks_like_one(
    wire, loop, transport
):
    assert not transport.tell_end(7)
    transport.expect_head()
    transport.write(HEAD)
    loop.turn()
    transport.write(HEAD)  # a body
    assert not transport.tell_end(7)
    transport.flush()
    assert wire.writes == [HEAD, HEAD]


def test_end_is_told_where_another_task_of_the_handler_wrote_the_head_in_the_same_turn(
    wire, transport
):
    transport.expect_head()
    transport.write(HEAD)
    transport.write(HEAD)  # a body
    assert transport.tell_end(7)
    transport.flush()
    assert wire.writes == [HEAD[:-2] + b"x-portico-ended: 7\r\n\r\n" + HEAD]


def test_end_is_not_told_to_a_client_that_is_gone(wire, transport):
    transport.expect_head()
    transport.write(HEAD)
    wire.close()
    assert not transport.tell_end(7)


def test_large_writes_do_not_wait_so_that_backpressure_is_felt(wire, transport):
    for _ in range(10):
        transport.write(b"x" * MAX_JOINED)
    assert sum(map(len, wire.writes)) >= 9 * MAX_JOINED


def test_close_sends_what_was_held_first(wire, transport):
    transport.write(b"bye")
    transport.close()
    assert (wire.writes, wire.closed) == ([b"bye"], True)


def test_another_protocol_writes_directly(wire, transport):
    transport.write(b"101")
    transport.set_protocol(asyncio.Protocol())
    transport.write(b"frame")
    assert wire.writes == [b"101", b"frame"]


def test_what_a_handler_says_before_it_waits_arrives_while_it_waits():
    async def test() -> None:
        wire = Wire()
        transport = JoiningTransport(wire, asyncio.get_running_loop())
        transport.write(b"a")
        transport.write(b"b")
        await asyncio.sleep(0)
        assert wire.writes == [b"ab"]

    asyncio.run(test())
