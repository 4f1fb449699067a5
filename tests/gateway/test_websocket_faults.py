"""WebSockets that end badly, or ought to, and those that must not: silence, backlogs, crashes, early words."""

from __future__ import annotations

import asyncio
import socket
import struct

import pytest
from wsproto.events import BytesMessage, CloseConnection, Ping, Pong, TextMessage

from gateway.sockets import HANDSHAKE, Socket, accept, echo
from gateway.world import DEADLINE, Connection, World, header, hello, run
from portico.gateway import tunnel
from portico.gateway.dialer import Dialer
from portico.gateway.limits import Limits
from portico.wire.container import Address

MASK = b"\x80\x00\x00\x00\x00"  # a length of zero, masked with zeros


# ---- handshakes


@pytest.mark.parametrize("apart", [False, True])
@pytest.mark.parametrize("early", [b"\x81" + MASK, b"GET /after HTTP/1.1\r\nHost: h\r\n\r\n"])
def test_words_before_the_handshake_is_answered_refuse_it(early, apart):
    asked, go = asyncio.Event(), asyncio.Event()

    async def late(connection: Connection) -> None:
        await connection.reader.readuntil(b"\r\n\r\n")
        asked.set()
        await go.wait()

    async def test():
        async with World(late) as world:
            client = await world.connect()
            client.send(HANDSHAKE if apart else HANDSHAKE + early)
            if apart:
                await asyncio.wait_for(asked.wait(), DEADLINE)
                client.send(early)
            assert (await client.response())[0].status_code == 400
            assert await client.rest() == b""
            go.set()
            await world.idle()

    run(test)


@pytest.mark.parametrize("line", [b"GET / HTTP/1.0", b"POST / HTTP/1.1", b"OPTIONS / HTTP/1.1"])
def test_what_cannot_be_a_handshake_is_an_ordinary_request(line):
    async def test():
        async with World(hello) as world:
            client = await world.connect()
            client.send(HANDSHAKE.replace(b"GET /ws?x=1 HTTP/1.1", line))
            method = line.split()[0]
            head, body = await client.response()
            assert head.status_code == 200
            assert body == method + b" / "
            names = {name for name, _ in world.requests[0].headers}
            assert not names & {b"upgrade", b"connection"}
            await world.idle()

    run(test)


def test_a_handshake_with_a_body_is_refused():
    async def test():
        async with World(hello) as world:
            client = await world.connect()
            client.send(HANDSHAKE[:-2] + b"Content-Length: 2\r\n\r\nab")
            assert (await client.response())[0].status_code == 400
            assert not world.requests

    run(test)


def test_a_handshake_with_a_function_that_speaks_none_is_answered_by_it():
    async def test():
        async with World(hello) as world:
            client = await world.connect()
            client.send(HANDSHAKE)
            assert (await client.response())[1] == b"GET /ws?x=1 "
            client.send(b"GET /after HTTP/1.1\r\nHost: h\r\n\r\n")
            assert (await client.response())[1] == b"GET /after "
            await world.idle()

    run(test)


def test_an_answer_that_asks_for_an_upgrade_names_it():
    async def required(connection: Connection) -> None:
        await connection.reader.readuntil(b"\r\n\r\n")
        connection.raw(
            b"HTTP/1.1 426 Upgrade Required\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Version: 13\r\nContent-Length: 0\r\n\r\n"
        )
        connection.container.report(1)
        await hello(connection)

    async def test():
        async with World(required) as world:
            client = await world.connect()
            client.send(HANDSHAKE.replace(b"Version: 13", b"Version: 14"))
            head, _ = await client.response()
            assert head.status_code == 426
            assert header(head, "upgrade") == b"websocket"
            assert header(head, "connection") == b"upgrade"
            assert header(head, "sec-websocket-version") == b"13"
            client.send(b"GET /after HTTP/1.1\r\nHost: h\r\n\r\n")
            assert (await client.response())[1] == b"GET /after "
            await world.idle()

    run(test)


def test_a_handshake_answered_during_the_shutdown_is_closed_at_once():
    async def test():
        asked, go = asyncio.Event(), asyncio.Event()

        async def late(connection: Connection) -> None:
            asked.set()
            await go.wait()
            await echo(connection)

        async with World(late) as world:
            opening = asyncio.create_task(Socket.open(world))
            await asyncio.wait_for(asked.wait(), DEADLINE)
            closing = asyncio.create_task(world.gateway.close(DEADLINE))
            await asyncio.sleep(0)  # it has told every connection now
            go.set()
            assert (await (await opening).event()).code == 1001
            await closing

    run(test)


# ---- frames


def test_control_frames_pass_both_ways_amid_the_fragments_of_a_message():
    async def test():
        came = []

        async def talk(connection: Connection) -> None:
            await accept(connection, b"\x01\x02he\x89\x02hi\x8a\x00\x80\x03llo")
            came.append(await connection.reader.readexactly(4 * 6 + 9))
            connection.ended()

        async with World(talk) as world:
            sock = await Socket.open(world)
            events = [await sock.event() for _ in range(4)]
            assert [type(event) for event in events] == [TextMessage, Ping, Pong, TextMessage]
            assert [events[0].data, events[1].payload, events[3].data] == ["he", b"hi", "llo"]
            for event in (
                BytesMessage(data=b"", message_finished=False),
                Ping(),
                Pong(),  # unsolicited
                BytesMessage(data=b"", message_finished=False),
                BytesMessage(data=b"end", message_finished=True),
            ):
                sock.send(event)
            sock.client.writer.close()
            await world.idle()
            (frames,) = came
            assert [frames[start] for start in (0, 6, 12, 18, 24)] == [2, 0x89, 0x8A, 0, 0x80]

    run(test)


@pytest.mark.parametrize("cut", range(8))
def test_a_big_message_closes_with_1009_on_both_sides_wherever_its_header_is_cut(cut):
    async def test():
        async with World(echo, limits=Limits(websocket_message=1000)) as world:
            sock = await Socket.open(world)
            sock.send(TextMessage(data="before"))
            header = b"\x82\xfe\x03\xe9mask"
            if cut:
                sock.client.send(header[:cut])
            assert await sock.message() == "before"
            sock.client.send(header[cut:] + b"x" * 1001)
            event = await sock.event()
            assert (event.code, event.reason) == (1009, "messages can be up to 1000 bytes")
            assert await asyncio.wait_for(world.closed.get(), DEADLINE) == 1009
            await world.idle()

    run(test)


def test_a_close_waits_for_the_containers_frame_and_not_for_its_next_ones():
    async def test():
        async def busy(connection: Connection) -> None:
            await accept(connection, b"\x82\x04ab")
            await connection.reader.readexactly(
                6
            )  # so the gateway has seen what came right behind it
            connection.raw(b"cd\x82\x02ef\x82\x7e")
            connection.ended()
            await connection.reader.read()

        async with World(busy, limits=Limits(websocket_message=10)) as world:
            sock = await Socket.open(world)
            data = (await sock.event()).data
            sock.client.send(b"\x82" + MASK + b"\x82\x8bmask")
            while len(data) < 4:
                data += (await sock.event()).data
            assert data == b"abcd"
            assert (await sock.event()).code == 1009

    run(test)


def test_a_frame_that_never_ends_does_not_hold_up_a_close(monkeypatch):
    monkeypatch.setattr(tunnel, "CLOSE_PATIENCE", 0.2)

    async def test():
        async def drip(connection: Connection) -> None:
            await accept(connection, b"\x82\x7e\xff\xff")
            try:
                while True:
                    connection.raw(b"x")
                    await connection.writer.drain()
                    await asyncio.sleep(0.01)
            finally:
                connection.ended()

        async with World(drip) as world:
            sock = await Socket.open(world)
            world.pool.members[0].retire_leases()
            with pytest.raises(ConnectionResetError):
                await asyncio.wait_for(sock.client.reader.read(), DEADLINE)
            await world.idle()

    run(test)


# ---- ends


def leave_by_reset(client) -> None:
    sock = client.writer.transport.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.writer.transport.abort()


def leave_by_end(client) -> None:
    client.writer.write_eof()


def say_nothing(client) -> None:
    client.writer.transport.pause_reading()


@pytest.mark.parametrize("leave", [leave_by_reset, leave_by_end, say_nothing])
def test_a_client_that_vanishes_frees_its_slot_and_the_handler_is_told(leave):
    async def test():
        async with World(echo, timeout=0.2 if leave is say_nothing else 60) as world:
            sock = await Socket.open(world)
            leave(sock.client)
            code = await asyncio.wait_for(world.closed.get(), DEADLINE)
            assert code == (1001 if leave is say_nothing else None)  # None: no close frame came
            await world.idle()

    run(test)


def test_a_handler_that_does_not_notice_the_end_is_cancelled(monkeypatch):
    monkeypatch.setattr(tunnel, "HANDLER_PATIENCE", 0.1)

    async def test():
        async def deaf(connection: Connection) -> None:
            await accept(connection)
            await connection.writer.wait_closed()

        async with World(deaf) as world:
            sock = await Socket.open(world)
            sock.client.writer.close()
            assert await asyncio.wait_for(world.cancelled.get(), DEADLINE) == 1
            await world.idle()

    run(test)


def test_a_container_that_dies_ends_the_connection_without_a_close_frame():
    async def test():
        async with World(echo) as world:
            sock = await Socket.open(world)
            world.containers[0].kill()
            event = await sock.event()
            assert isinstance(event, CloseConnection)
            assert event.code == 1006
            await world.idle()
            async with asyncio.timeout(DEADLINE):
                while world.gateway.connections:
                    await asyncio.sleep(0.01)

    run(test)


def test_an_open_connection_outlasts_the_timeouts_of_http_and_answers_its_own():
    async def test():
        limits = Limits(head_timeout=0.1, idle_timeout=0.1)
        async with World(echo, limits=limits, timeout=1) as world:
            sock = await Socket.open(world)
            loop = asyncio.get_running_loop()
            began = loop.time()
            while (
                loop.time() < began + 1.5
            ):  # longer than all of them, and never silent for as long as 1 s
                sock.send(TextMessage(data="still here"))
                assert await sock.message() == "still here"
                with pytest.raises(TimeoutError):
                    await asyncio.wait_for(sock.event(), 0.6)
            event = await sock.event()
            assert (event.code, event.reason) == (1001, "nothing was said for 1 s")
            await world.idle()

    run(test)


def test_an_answer_is_read_that_came_before_a_container_closed_on_what_it_was_sent():
    class Receiver:
        method = b"POST"

        def __init__(self) -> None:
            self.status, self.ended, self.lost = 0, False, asyncio.Event()

        def response_head(self, head) -> None:
            self.status = head.status

        def response_end(self, trailers) -> None:
            self.ended = True

        def response_body(self, data) -> None:
            pass

        def response_flush(self) -> None:
            pass

        def upstream_writable(self, writable) -> None:
            pass

        def upstream_lost(self, reason, *, orderly=False, unread=False) -> None:
            self.lost.set()

    async def test():
        closed = asyncio.Event()

        async def refuse(reader, writer) -> None:
            writer.write(b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno")
            writer.close()
            closed.set()

        server = await asyncio.start_server(refuse, "127.0.0.1", 0)
        connection = await Dialer(asyncio.get_running_loop()).dial(
            Address(host="127.0.0.1", port=server.sockets[0].getsockname()[1])
        )
        connection.receiver = receiver = Receiver()
        connection.pause_reading()  # as for a slow client; or the loop is just busy with other things
        await asyncio.wait_for(closed.wait(), DEADLINE)
        async with asyncio.timeout(DEADLINE):
            while not receiver.lost.is_set():
                connection.write(b"x")
                await asyncio.sleep(0.01)
        assert (receiver.status, receiver.ended) == (413, True)
        server.close()

    run(test)


# ---- backlogs


async def standstill(count) -> int:
    """What `count` says once it does not change any more."""
    before = -1
    async with asyncio.timeout(DEADLINE):
        while (now := count()) != before or not now:
            before = now
            await asyncio.sleep(0.2)
    return before


def test_a_client_that_does_not_read_pauses_the_container():
    async def test():
        sent = 0

        async def flood(connection: Connection) -> None:
            nonlocal sent
            await accept(connection)
            frame = b"\x82\x7f" + struct.pack("!Q", 65536) + bytes(65536)
            while True:
                connection.raw(frame)
                await connection.writer.drain()
                sent += len(frame)

        async with World(flood) as world:
            sock = await Socket.open(world)
            sock.client.writer.transport.pause_reading()
            assert await standstill(lambda: sent) < 32 * 1024**2
            sock.client.writer.transport.resume_reading()
            await sock.client.reader.readexactly(sent + 1024**2)
            sock.client.writer.transport.abort()
            async with asyncio.timeout(DEADLINE):
                while world.gateway.connections:
                    await asyncio.sleep(0.01)

    run(test)


def test_a_container_that_does_not_read_pauses_the_client():
    async def test():
        go, got = asyncio.Event(), 0

        async def slow(connection: Connection) -> None:
            nonlocal got
            await accept(connection)
            connection.writer.transport.pause_reading()
            await go.wait()
            connection.writer.transport.resume_reading()
            while data := await connection.reader.read(1 << 20):
                got += len(data)
            connection.ended()

        async with World(slow) as world:
            sock = await Socket.open(world)
            frame = b"\x82\xff" + struct.pack("!Q", 65536) + b"mask" + bytes(65536)
            sent = 0

            async def upload() -> None:
                nonlocal sent
                while not go.is_set():
                    sock.client.send(frame)
                    await sock.client.writer.drain()
                    sent += len(frame)

            task = asyncio.create_task(upload())
            assert await standstill(lambda: sent) < 32 * 1024**2
            go.set()
            await task
            sock.client.writer.close()
            await world.idle()
            assert got == sent

    run(test)
