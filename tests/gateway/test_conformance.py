"""RFC 9110 and 9112 clause by clause, where a gateway has to do something about it."""

from __future__ import annotations

import asyncio

import h11
import pytest

from gateway.world import DEADLINE, Connection, World, header, hello, run
from portico.gateway.limits import Limits

GET = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"


def says(answer: bytes):
    """A container that answers every request like that, as soon as it has its head."""

    async def handler(connection: Connection) -> None:
        while await connection.request() is not None:
            await connection.body()
            connection.raw(answer)
            connection.h11 = h11.Connection(h11.SERVER)
            connection.ended()

    return handler


# -- Expect: 100-continue (RFC 9110 §10.1.1)


def test_100_continue_comes_from_the_container_and_not_before_it():
    head_seen, go = asyncio.Event(), asyncio.Event()

    async def careful(connection: Connection) -> None:
        request = await connection.request()
        assert header(request, "expect") == b"100-continue"
        head_seen.set()
        await go.wait()
        connection.send(h11.InformationalResponse(status_code=100, headers=[]))
        await connection.respond(await connection.body())

    async def test():
        async with World(careful) as world:
            client = await world.connect()
            client.send(
                b"PUT / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n"
            )
            async with asyncio.timeout(DEADLINE):
                await head_seen.wait()
            with pytest.raises(TimeoutError):  # nothing is promised in the container's name
                async with asyncio.timeout(0.05):
                    await client.reader.read(1)
            go.set()
            assert await client.until(b"\r\n\r\n") == b"HTTP/1.1 100 \r\n\r\n"
            client.send(b"ok")
            assert (await client.response())[1] == b"ok"
            await world.idle()

    run(test)


@pytest.mark.parametrize("status", [401, 413, 417])
@pytest.mark.parametrize("last", [False, True], ids=["container goes on", "container closes"])
def test_container_that_refuses_early_is_heard_and_the_body_is_no_second_request(
    status: int, last: bool
):
    async def refuses(connection: Connection) -> None:
        await connection.request()
        closing = b"Connection: close\r\n" if last else b""
        connection.raw(b"HTTP/1.1 %d No\r\nContent-Length: 2\r\n%b\r\nno" % (status, closing))
        connection.ended()
        if not last:
            await connection.reader.read()

    async def test():
        async with World(refuses) as world:
            client = await world.connect()
            client.send(
                b"POST / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: %d\r\n\r\n"
                % (len(GET) * 2)
            )
            head, body = await client.response()
            assert (head.status_code, body) == (status, b"no")
            assert header(head, "connection") == b"close"
            client.send(GET * 2)  # the body, sent all the same
            assert await client.rest() == b""
            await world.idle()
            assert len(world.requests) == 1

    run(test)


def test_large_body_that_nobody_reads_does_not_cost_the_client_its_answer():
    async def refuses(connection: Connection) -> None:
        await connection.request()
        connection.raw(b"HTTP/1.1 413 No\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno")
        connection.ended()

    async def test():
        async with World(refuses) as world:
            client = await world.connect()
            client.send(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 8000000\r\n\r\n")
            client.send(b"x" * 8_000_000)
            assert (await client.rest()).endswith(b"\r\n\r\nno")
            await world.idle()

    run(test)


# -- 1xx (RFC 9110 §15.2)


def test_interim_responses_pass_as_they_come_and_not_to_http_1_0():
    go = asyncio.Event()

    async def hints(connection: Connection) -> None:
        await connection.request()
        await connection.body()
        connection.raw(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\nConnection: x\r\nX: 1\r\n\r\n")
        await connection.writer.drain()
        await go.wait()
        await connection.respond(b"ok")

    async def test():
        async with World(hints) as world:
            client = await world.connect()
            client.send(GET)
            hint = await client.until(b"\r\n\r\n")
            assert hint == b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
            go.set()
            assert (await client.response())[1] == b"ok"
            old = await world.connect()
            old.send(b"GET / HTTP/1.0\r\n\r\n")
            raw = await old.rest()
            assert raw.startswith(b"HTTP/1.1 200 ")
            assert b"Link" not in raw

    run(test)


def test_interim_response_and_then_none_is_502():
    async def hints(connection: Connection) -> None:
        await connection.request()
        connection.raw(b"HTTP/1.1 103 Early Hints\r\n\r\n")

    async def test():
        async with World(hints) as world:
            client = await world.connect()
            client.send(b"POST / HTTP/1.1\r\nHost: h\r\n\r\n")
            assert (await client.until(b"\r\n\r\n")).startswith(b"HTTP/1.1 103 ")
            head, _ = await client.response()
            assert head.status_code == 502

    run(test)


# -- responses without a body (RFC 9110 §6.4.1)


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 204 No Content\r\n\r\n",
        b"HTTP/1.1 304 Not Modified\r\nContent-Length: 100\r\n\r\n",
        b"HTTP/1.1 304 Not Modified\r\n\r\n",
    ],
)
def test_response_that_has_no_body_leaves_both_connections_in_step(answer: bytes):
    async def test():
        async with World(says(answer)) as world:
            client = await world.connect()
            client.send(GET * 3)
            for _ in range(3):
                head, body = await client.response()
                assert (head.status_code, body) == (int(answer[9:12]), b"")
            (container,) = world.containers
            assert len(container.writers) == 1

    run(test)


def test_body_in_answer_to_head_is_nobodys_answer():
    seen = []

    async def sloppy(connection: Connection) -> None:
        seen.append(connection)
        while (request := await connection.request()) is not None:
            await connection.body()
            connection.raw(b"HTTP/1.1 200 OK\r\nContent-Length: 42\r\n\r\n")
            await connection.writer.drain()
            if request.method == b"HEAD":
                await asyncio.sleep(
                    0.05
                )  # the body comes once the connection might have been given on
            connection.raw(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")
            connection.h11 = h11.Connection(h11.SERVER)
            connection.ended()

    async def test():
        async with World(sloppy) as world:
            client = await world.connect()
            client.send(b"HEAD / HTTP/1.1\r\nHost: h\r\n\r\n" + GET)
            head, _ = await client.response("HEAD")
            assert header(head, "content-length") == b"42"
            assert len((await client.response())[1]) == 42
            assert len(seen) == 2

    run(test)


# -- connections (RFC 9112 §9)


@pytest.mark.parametrize(
    ("request_head", "kept"),
    [
        (b"GET / HTTP/1.1\r\nHost: h\r\n\r\n", True),
        (b"GET / HTTP/1.1\r\nHost: h\r\nConnection: keep-alive\r\n\r\n", True),
        (b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", False),
        (b"GET / HTTP/1.1\r\nHost: h\r\nConnection: CLOSE\r\n\r\n", False),
        (b"GET / HTTP/1.1\r\nHost: h\r\nConnection: a, Close ,b\r\n\r\n", False),
        (
            b"GET / HTTP/1.1\r\nHost: h\r\nConnection: keep-alive\r\nConnection: close\r\n\r\n",
            False,
        ),
        (b"GET / HTTP/1.1\r\nHost: h\r\nConnection: closed\r\n\r\n", True),
        (b"GET / HTTP/1.1\r\nHost: h\r\nX-Connection: close\r\n\r\n", True),
        (b"GET / HTTP/1.0\r\n\r\n", False),
        (b"GET / HTTP/1.0\r\nHost: h\r\n\r\n", False),
        (b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", True),
        (b"GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", True),
        (b"GET / HTTP/1.0\r\nConnection: a,KEEP-ALIVE\r\n\r\n", True),
        (b"GET / HTTP/1.0\r\nConnection: close\r\n\r\n", False),
    ],
)
def test_connection_is_kept_where_the_client_wants_it_kept(request_head: bytes, kept: bool):
    async def test():
        async with World(hello) as world:
            client = await world.connect()
            client.send(request_head)
            head, _ = await client.response()
            said = header(head, "connection")
            if not kept:
                assert said == b"close"
                assert await client.rest() == b""
                return
            assert said == (b"keep-alive" if b"HTTP/1.0" in request_head else None)
            client.send(request_head)
            assert (await client.response())[1] == b"GET / "

    run(test)


def test_http_1_0_without_a_host_is_served_at_an_own_port_and_unknown_at_the_shared_one():
    async def test():
        async with World(hello) as world:
            own, shared = await world.connect(), await world.connect(own_port=False)
            for client in (own, shared):
                client.send(b"GET /a HTTP/1.0\r\n\r\n")
            assert (await own.rest()).endswith(b"\r\n\r\nGET /a ")
            assert (await shared.rest()).startswith(b"HTTP/1.1 404 ")

    run(test)


def test_chunks_are_taken_off_for_http_1_0_and_the_connection_ends_the_body():
    answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n3\r\ntwo\r\n0\r\nX-Sum: 6\r\n\r\n"

    async def test():
        async with World(says(answer)) as world:
            client = await world.connect()
            client.send(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
            raw = await client.rest()
            assert raw.endswith(b"\r\nconnection: close\r\n\r\nonetwo")
            assert b"chunked" not in raw
            assert b"keep-alive" not in raw

    run(test)


def test_requests_behind_the_last_one_are_not_heard():
    async def test():
        async with World(hello) as world:
            client = await world.connect()
            last = b"GET /last HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"
            client.send(GET + last + GET * 3)
            raw = await client.rest()
            assert raw.count(b"HTTP/1.1 200 ") == 2
            assert raw.endswith(b"GET /last ")
            await world.idle()
            assert [r.target for r in world.requests] == [b"/", b"/last"]

    run(test)


def test_request_refused_in_the_middle_has_its_answer_in_its_place_and_the_others_theirs():
    async def test():
        async with World(hello, limits=Limits(request_body=4)) as world:
            client = await world.connect(own_port=False)
            known = b"GET /%d HTTP/1.1\r\nHost: me--app-f.localhost\r\n\r\n"
            client.send(known % 1 + b"GET / HTTP/1.1\r\nHost: nobody\r\n\r\n" + known % 2)
            answers = [await client.response() for _ in range(3)]
            assert [head.status_code for head, _ in answers] == [200, 404, 200]
            assert answers[2][1] == b"GET /2 "

    run(test)


@pytest.mark.parametrize(
    "framing",
    [
        b"Content-Length: 5\r\n\r\nhello",
        b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    ],
    ids=["declared", "counted"],
)
def test_too_large_a_body_in_the_middle_has_its_413_in_its_place(framing: bytes):
    async def test():
        async with World(hello, limits=Limits(request_body=4)) as world:
            client = await world.connect()
            client.send(
                GET
                + b"POST / HTTP/1.1\r\nHost: h\r\n"
                + framing
                + b"GET /3 HTTP/1.1\r\nHost: h\r\n\r\n"
            )
            assert (await client.response())[1] == b"GET / "
            head, _ = await client.response()
            assert head.status_code == 413
            if header(head, "connection") is None:
                assert (await client.response())[1] == b"GET /3 "
                client.close()
            else:
                assert await client.rest() == b""
                assert len(world.requests) == 1
            await world.idle()

    run(test)


@pytest.mark.parametrize(
    "request_head",
    [b"GET / HTTP/1.0\r\n\r\n", b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"],
)
def test_half_closed_client_that_waits_for_its_last_answer_gets_all_of_it(request_head: bytes):
    half_closed = asyncio.Event()

    async def late(connection: Connection) -> None:
        await connection.request()
        await connection.body()
        await half_closed.wait()
        await connection.respond(b"x" * 1_000_000)

    async def test():
        async with World(late) as world:
            client = await world.connect()
            client.send(request_head)
            client.writer.write_eof()
            async with asyncio.timeout(DEADLINE):
                while not all(c._client_done for c in world.gateway._connections):
                    await asyncio.sleep(0.001)
            half_closed.set()
            assert (await client.rest()).endswith(b"\r\n\r\n" + b"x" * 1_000_000)
            await world.idle()

    run(test)


@pytest.mark.parametrize("sent", [b"", b"GET / HT", GET[:-2]])
def test_half_closed_client_that_asked_for_nothing_is_let_go(sent: bytes):
    async def test():
        async with World(hello) as world:
            client = await world.connect()
            client.send(sent)
            client.writer.write_eof()
            assert await client.rest() == b""
            assert world.requests == []

    run(test)


# -- messages that end early (RFC 9112 §8)


@pytest.mark.parametrize("version", [b"1.0", b"1.1"])
def test_response_without_length_that_is_reset_does_not_look_whole(version: bytes):
    go = asyncio.Event()

    async def resets(connection: Connection) -> None:
        await connection.request()
        connection.reader._transport.pause_reading()
        connection.raw(b"HTTP/1.1 200 OK\r\n\r\nbegun")
        await go.wait()
        # A unix socket is reset where it is closed with something unread: the body that the client sent.
        connection.writer.transport.abort()

    async def test():
        async with World(resets) as world:
            client = await world.connect()
            client.send(b"POST / HTTP/%b\r\nHost: h\r\nContent-Length: 500000\r\n\r\n" % version)
            client.send(b"x" * 400_000)
            await client.until(b"begun")
            go.set()
            async with asyncio.timeout(DEADLINE):
                with pytest.raises(ConnectionResetError):
                    await client.reader.read()
            await world.idle()

    run(test)


def test_response_without_length_that_ends_before_the_request_is_whole():
    async def early(connection: Connection) -> None:
        await connection.request()
        await connection.event()  # a piece of the body
        connection.raw(b"HTTP/1.1 200 OK\r\n\r\nenough")
        connection.ended()

    async def test():
        async with World(early) as world:
            client = await world.connect()
            client.send(b"POST / HTTP/1.0\r\nContent-Length: 10\r\n\r\nhello")
            assert (await client.rest()).endswith(b"\r\n\r\nenough")
            await world.idle()

    run(test)


def test_request_that_ends_early_is_never_whole_for_the_container():
    whole = []

    async def reads(connection: Connection) -> None:
        await connection.request()
        try:
            whole.append(await connection.body())
        except h11.RemoteProtocolError:
            whole.append(None)
            raise

    async def test():
        async with World(reads) as world:
            for framing in (
                b"Content-Length: 10\r\n\r\nhello",
                b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
            ):
                client = await world.connect()
                client.send(b"POST / HTTP/1.1\r\nHost: h\r\n" + framing)
                async with asyncio.timeout(DEADLINE):
                    before = len(whole)
                    while not world.requests:
                        await asyncio.sleep(0.001)
                    client.writer.write_eof()
                    while len(whole) == before:
                        await asyncio.sleep(0.001)
                assert await client.rest() == b""
                world.requests.clear()
            await world.idle()
            assert whole == [None, None]

    run(test)


# -- bounds of what may go on without end


@pytest.mark.parametrize(
    "endless",
    [b"5;" + b"a" * 500, b"5;a=" + b"b" * 500, b'5;a="' + b"b" * 500, b"0\r\n" + b"X: y\r\n" * 100],
    ids=["name", "value", "quoted value", "trailers"],
)
def test_chunk_extensions_and_trailers_are_bounded(endless: bytes):
    async def test():
        async with World(hello, limits=Limits(head=400, headers=1000)) as world:
            client = await world.connect()
            client.send(b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n")
            for start in range(0, len(endless), 100):
                client.send(endless[start : start + 100])
                await client.writer.drain()
                await asyncio.sleep(0.001)
            assert (await client.rest()).startswith(b"HTTP/1.1 431 ")
            await world.idle()

    run(test)


@pytest.mark.parametrize(
    ("begin", "more", "looks"),
    [
        (b"HTTP/1.1 200 OK\r\n", b"X: y\r\n", b"HTTP/1.1 502 "),
        (b"HTTP/1.1 200 OK\r\nX: ", b"y", b"HTTP/1.1 502 "),
        (b"HTTP/1.1 200 ", b"y", b"HTTP/1.1 502 "),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;a=", b"b", b""),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: ", b"y", b""),
    ],
    ids=["headers", "header", "reason", "chunk extension", "trailers"],
)
def test_head_of_an_answer_that_has_no_end_is_given_up(begin: bytes, more: bytes, looks: bytes):
    sent = 0

    async def endless(connection: Connection) -> None:
        nonlocal sent
        await connection.request()
        connection.raw(begin)
        while sent < 64 * 1024**2:
            connection.raw(more * (65536 // len(more)))
            await connection.writer.drain()
            sent += 65536

    async def test():
        async with World(endless) as world:
            client = await world.connect()
            client.send(b"POST / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
            assert (await client.rest()).startswith(looks)
            await world.idle()
            assert sent < 8 * 1024**2

    run(test)
