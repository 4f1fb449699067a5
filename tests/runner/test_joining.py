from __future__ import annotations

import asyncio

import pytest

from portico.runner.joining import MAX_JOINED, JoiningTransport, joined

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


@pytest.fixture
def wire():
    return Wire()


@pytest.fixture
def transport(wire):
    transport = JoiningTransport(wire)
    transport.hold()
    return transport


async def until_done(awaitable) -> None:
    await awaitable


def test_held_writes_leave_as_one_and_later_ones_at_once(wire, transport):
    transport.write(HEAD)
    transport.write(b"ok")
    assert wire.writes == []
    transport.release()
    assert wire.writes == [HEAD + b"ok"]
    transport.write(b"more")
    assert wire.writes[1:] == [b"more"]


def test_end_is_told_in_the_head_that_has_not_left(wire, transport):
    transport.expect_head()
    transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    transport.write(HEAD)
    transport.write(b"ok")
    assert transport.tell_end(7)
    transport.release()
    told = HEAD[:-2] + b"x-portico-ended: 7\r\n\r\nok"
    assert wire.writes == [b"HTTP/1.1 100 Continue\r\n\r\n" + told]


def test_end_is_not_told_once_the_head_has_left_nor_in_a_body_that_looks_like_one(wire, transport):
    assert not transport.tell_end(7)
    transport.expect_head()
    transport.write(HEAD)
    transport.release()
    transport.hold()
    transport.write(HEAD)  # a body
    assert not transport.tell_end(7)
    transport.release()
    assert wire.writes == [HEAD, HEAD]


def test_end_is_not_told_when_the_head_was_written_by_another_task_while_the_handler_waited(
    wire, transport
):
    async def handler() -> None:
        async def child() -> None:
            transport.write(HEAD)

        await asyncio.create_task(child())
        transport.write(HEAD)  # a body

    transport.expect_head()
    asyncio.run(until_done(joined(handler(), transport)))
    assert not transport.tell_end(7)
    transport.release()
    assert wire.writes == [HEAD, HEAD]


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


def test_what_a_handler_writes_leaves_when_it_waits_and_its_last_words_are_held(wire, transport):
    async def handler() -> None:
        transport.write(b"a")
        transport.write(b"b")
        await asyncio.sleep(0)
        seen.append(list(wire.writes))
        transport.write(b"c")

    seen: list[list[bytes]] = []
    asyncio.run(until_done(joined(handler(), transport)))
    assert seen == [[b"ab"]]
    assert wire.writes == [b"ab"]
    transport.release()
    assert wire.writes == [b"ab", b"c"]


def test_other_tasks_of_a_waiting_handler_write_at_once(wire, transport):
    async def handler() -> None:
        async def child() -> None:
            transport.write(b"child")
            seen.append(list(wire.writes))

        await asyncio.create_task(child())

    seen: list[list[bytes]] = []
    asyncio.run(until_done(joined(handler(), transport)))
    assert seen == [[b"child"]]


def test_a_handler_is_cancelled_like_any_other_and_may_clean_up(wire, transport):
    async def handler() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            await asyncio.sleep(0)
            transport.write(b"cleaned up")
            raise

    async def main() -> None:
        task = asyncio.create_task(until_done(joined(handler(), transport)))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        transport.release()

    asyncio.run(main())
    assert wire.writes == [b"cleaned up"]


def test_an_exception_passes(transport):
    async def fails() -> None:
        raise KeyError("no")

    with pytest.raises(KeyError):
        asyncio.run(until_done(joined(fails(), transport)))


def test_closing_closes_the_handler(transport):
    async def forever() -> None:
        try:
            await asyncio.sleep(1000)
        finally:
            closed.append(True)

    closed: list[bool] = []

    async def main() -> None:
        steps = joined(forever(), transport)
        steps.send(None)
        steps.close()

    asyncio.run(main())
    assert closed == [True]
