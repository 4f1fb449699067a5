from __future__ import annotations

import asyncio

from portico.runner.joining import MAX_JOINED, JoiningTransport, Turn

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


def run(test) -> None:
    async def main() -> None:
        wire = Wire()
        await test(wire, JoiningTransport(wire, Turn(asyncio.get_running_loop())))

    asyncio.run(main())


async def turn() -> None:
    await asyncio.sleep(0)
    await asyncio.sleep(0)


def test_writes_of_one_turn_leave_as_one():
    async def test(wire, transport):
        transport.write(HEAD)
        transport.write(b"ok")
        assert wire.writes == []
        await turn()
        assert wire.writes == [HEAD + b"ok"]
        transport.write(b"more")
        await turn()
        assert wire.writes[1:] == [b"more"]

    run(test)


def test_end_is_told_in_the_head_that_has_not_left():
    async def test(wire, transport):
        transport.expect_head()
        transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        transport.write(HEAD)
        transport.write(b"ok")
        assert transport.tell_end()
        await turn()
        told = HEAD[:-2] + b"x-portico-ended: 1\r\n\r\nok"
        assert wire.writes == [b"HTTP/1.1 100 Continue\r\n\r\n" + told]

    run(test)


def test_end_is_not_told_once_the_head_has_left_nor_in_a_body_that_looks_like_one():
    async def test(wire, transport):
        assert not transport.tell_end()
        transport.expect_head()
        transport.write(HEAD)
        await turn()
        transport.write(HEAD)  # a body
        assert not transport.tell_end()
        await turn()
        assert wire.writes == [HEAD, HEAD]

    run(test)


def test_end_is_not_told_to_a_client_that_is_gone():
    async def test(wire, transport):
        transport.expect_head()
        transport.write(HEAD)
        wire.close()
        assert not transport.tell_end()

    run(test)


def test_large_writes_do_not_wait_so_that_backpressure_is_felt():
    async def test(wire, transport):
        for _ in range(10):
            transport.write(b"x" * MAX_JOINED)
        assert sum(map(len, wire.writes)) >= 9 * MAX_JOINED

    run(test)


def test_close_sends_what_was_kept_first():
    async def test(wire, transport):
        transport.write(b"bye")
        transport.close()
        assert (wire.writes, wire.closed) == ([b"bye"], True)

    run(test)


def test_another_protocol_writes_directly():
    async def test(wire, transport):
        transport.write(b"101")
        transport.set_protocol(asyncio.Protocol())
        transport.write(b"frame")
        assert wire.writes == [b"101", b"frame"]

    run(test)
