"""The relay between the gateway's unix socket and a server's port, on sockets of the test's own."""

from __future__ import annotations

import asyncio
import socket
import struct
from pathlib import Path

import pytest
import uvloop

from containers import DEADLINE
from portico.runner.relay import Relay


def test_an_answer_passes_that_came_before_the_server_closed_on_what_it_was_sent(
    tmp_path: Path,
) -> None:
    async def main() -> None:
        began, answered = asyncio.Event(), asyncio.Event()

        async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await began.wait()
            writer.write(b"no, and why")
            writer.close()
            answered.set()

        server = await asyncio.start_server(refuse, "127.0.0.1", 0)
        relay = Relay(("127.0.0.1", server.sockets[0].getsockname()[1]), lambda: None)
        path = str(tmp_path / "relay")
        await relay.listen(path)
        reader, writer = await asyncio.open_unix_connection(path)
        async with asyncio.timeout(DEADLINE):
            while not [front for front in relay.fronts if front.other is not None]:
                await asyncio.sleep(0.001)
            (front,) = relay.fronts
            assert front.other is not None
            assert front.other.transport is not None
            front.other.transport.pause_reading()  # as if the loop were busy with other things
            began.set()
            await answered.wait()
            while relay.fronts:
                writer.write(b"more")
                await asyncio.sleep(0.01)
            assert await reader.read() == b"no, and why"
        relay.close()
        server.close()

    uvloop.run(main())


def test_a_server_that_resets_the_connection_has_its_whole_answer_passed_on(
    tmp_path: Path,
) -> None:
    answer = (
        b"x" * 400_000
    )  # more than the gateway's socket holds, less than would pause the server

    async def main() -> None:
        read = asyncio.Event()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(answer)
            await read.wait()
            linger = struct.pack("ii", 1, 0)
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            writer.transport.abort()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        relay = Relay(("127.0.0.1", server.sockets[0].getsockname()[1]), lambda: None)
        path = str(tmp_path / "relay")
        await relay.listen(path)
        with socket.socket(socket.AF_UNIX) as gateway:  # a slow one: it reads when all is over
            gateway.connect(path)
            gateway.setblocking(False)
            async with asyncio.timeout(DEADLINE):
                while not [f for f in relay.fronts if f.transport and f.other]:
                    await asyncio.sleep(0.001)
                (front,) = relay.fronts
                assert front.transport is not None
                before = -1
                while before != (now := front.transport.get_write_buffer_size()) or not now:
                    before = now
                    await asyncio.sleep(0.05)
                read.set()
                while front.other is not None:
                    await asyncio.sleep(0.001)
                received = bytearray()
                while data := await asyncio.get_running_loop().sock_recv(gateway, 65536):
                    received += data
        assert received == answer
        relay.close()
        server.close()

    uvloop.run(main())


def test_a_gateway_that_gives_up_while_the_server_has_not_accepted_is_let_go(
    tmp_path: Path,
) -> None:
    async def main() -> None:
        with socket.socket() as busy:
            busy.bind(("127.0.0.1", 0))
            busy.listen(0)
            crowd = [socket.socket() for _ in range(4)]
            for other in crowd:
                other.setblocking(False)
                other.connect_ex(busy.getsockname())
            relay = Relay(busy.getsockname(), lambda: None)
            path = str(tmp_path / "relay")
            await relay.listen(path)
            _, writer = await asyncio.open_unix_connection(path)
            writer.write(b"GET / HTTP/1.1\r\n\r\n")
            async with asyncio.timeout(DEADLINE):
                while not relay.fronts:
                    await asyncio.sleep(0.001)
                await asyncio.sleep(0.05)  # the request has been read by now
                (front,) = relay.fronts
                assert front.other is None
                writer.close()
                while relay.fronts:
                    await asyncio.sleep(0.001)
            relay.close()
            for other in crowd:
                other.close()

    uvloop.run(main())


@pytest.mark.parametrize("closes", [False, True])
def test_a_server_that_speaks_first_is_heard(tmp_path: Path, closes: bool) -> None:
    async def main() -> None:
        async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"too many")
            if closes:
                writer.close()

        server = await asyncio.start_server(refuse, "127.0.0.1", 0)
        relay = Relay(("127.0.0.1", server.sockets[0].getsockname()[1]), lambda: None)
        path = str(tmp_path / "relay")
        await relay.listen(path)

        async def ask() -> bytes:
            reader, writer = await asyncio.open_unix_connection(path)
            writer.write(b"GET / HTTP/1.1\r\n\r\n")
            heard = await reader.readexactly(8)
            writer.close()
            return heard

        async with asyncio.timeout(DEADLINE):
            heard = await asyncio.gather(*(ask() for _ in range(60)))
        assert set(heard) == {b"too many"}
        relay.close()
        server.close()

    uvloop.run(main())
