"""What passes through the gateway, both ways."""

from __future__ import annotations

import asyncio
import json

import h11
import pytest

from gateway.world import Connection, World, header, hello, run
from portico.wire.manifest import Scaling

GET = b"GET /a%20b?x=1 HTTP/1.1\r\nHost: me--app-f.localhost:8400\r\n\r\n"


def test_request_is_routed_by_host_and_by_own_port():
    async def test():
        async with World(hello) as world:
            by_host = await world.connect(own_port=False)
            by_host.send(GET)
            head, body = await by_host.response()
            assert (head.status_code, body) == (200, b"GET /a%20b?x=1 ")
            by_port = await world.connect()
            by_port.send(b"GET / HTTP/1.1\r\nHost: anything.example\r\n\r\n")
            head, _ = await by_port.response()
            assert head.status_code == 200
            assert header(world.requests[1], "host") == b"anything.example"

    run(test)


def test_unknown_host_gets_a_problem_answer():
    async def test():
        async with World(hello) as world:
            client = await world.connect(own_port=False)
            client.send(b"GET / HTTP/1.1\r\nHost: nobody.localhost\r\n\r\n")
            head, body = await client.response()
            assert head.status_code == 404
            assert header(head, "content-type") == b"application/problem+json"
            problem = json.loads(body)
            assert problem["status"] == 404
            assert problem["type"] == "about:blank"
            assert "nobody.localhost" in problem["detail"]
            assert problem["request_id"].encode() == header(head, "x-request-id")
            client.send(GET)  # the connection stays usable
            head, _ = await client.response()
            assert head.status_code == 200

    run(test)


def test_container_learns_about_the_client_and_not_what_the_client_claims():
    async def test():
        async with World(hello) as world:
            client = await world.connect()
            client.send(
                b"GET / HTTP/1.1\r\nHost: h.example\r\nX-Forwarded-For: 6.6.6.6\r\n"
                b"X-Forwarded-Proto: https\r\nForwarded: for=6.6.6.6\r\nX-Request-Id: mine\r\n"
                b"X-Portico-Input: 99\r\n\r\n"
            )
            response, _ = await client.response()
            (request,) = world.requests
            assert [v for n, v in request.headers if n == b"x-forwarded-for"] == [b"127.0.0.1"]
            assert header(request, "x-forwarded-proto") == b"http"
            assert header(request, "x-forwarded-host") == b"h.example"
            assert header(request, "forwarded") is None
            assert header(request, "x-request-id") == header(response, "x-request-id") != b"mine"
            assert len([n for n, _ in request.headers if n == b"x-portico-input"]) == 1
            assert header(request, "traceparent").startswith(b"00-")

    run(test)


def test_trusted_proxy_is_believed_up_to_the_first_untrusted_hop():
    import ipaddress

    async def test():
        trusted = (ipaddress.ip_network("127.0.0.0/8"), ipaddress.ip_network("10.0.0.0/8"))
        async with World(hello, trusted=trusted) as world:
            client = await world.connect()
            client.send(
                b"GET / HTTP/1.1\r\nHost: h\r\nX-Forwarded-For: 6.6.6.6, 9.9.9.9, 10.0.0.7\r\n"
                b"X-Forwarded-Proto: https\r\n\r\n"
            )
            await client.response()
            (request,) = world.requests
            assert header(request, "x-forwarded-for") == b"9.9.9.9"
            assert header(request, "x-forwarded-proto") == b"https"

    run(test)


def test_headers_keep_order_case_of_values_and_duplicates_and_lose_hop_by_hop():
    async def answer(connection: Connection) -> None:
        await connection.request()
        await connection.body()
        connection.raw(
            b"HTTP/1.1 201 Made Up\r\nSet-Cookie: a=1\r\nX-Case: MiXed\r\nSet-Cookie: b=2\r\n"
            b"Keep-Alive: timeout=5\r\nContent-Length: 2\r\n\r\n!!"
        )
        await connection.reader.read()

    async def test():
        async with World(answer) as world:
            client = await world.connect()
            client.send(
                b"GET / HTTP/1.1\r\nHost: h\r\nB: 2\r\nA: 1\r\nB: 3\r\nConnection: keep-alive, X-Secret\r\n"
                b"X-Secret: s\r\nTE: trailers\r\nUpgrade: h2c\r\n\r\n"
            )
            raw = await client.until(b"!!")
            assert raw.startswith(
                b"HTTP/1.1 201 Made Up\r\nSet-Cookie: a=1\r\nX-Case: MiXed\r\nSet-Cookie: b=2\r\n"
            )
            assert b"Keep-Alive" not in raw
            names = [(n, v) for n, v in world.requests[0].headers if n in (b"a", b"b")]
            assert names == [(b"b", b"2"), (b"a", b"1"), (b"b", b"3")]
            gone = {b"x-secret", b"te", b"upgrade", b"connection"}
            assert not gone & {n for n, _ in world.requests[0].headers}

    run(test)


def test_bodies_of_both_framings_arrive_whole_with_trailers():
    async def test():
        async with World(hello) as world:
            client = await world.connect()
            client.send(b"POST /l HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello")
            assert (await client.response())[1] == b"POST /l hello"
            client.send(
                b"POST /c HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
                b"3;ext=1\r\nhel\r\n2\r\nlo\r\n0\r\nX-Sum: 7\r\n\r\n"
            )
            assert (await client.response())[1] == b"POST /c hello"
            assert (b"x-sum", b"7") in world.trailers

    run(test)


def test_response_streams_as_it_is_sent_and_its_trailers_pass():
    go = asyncio.Event()

    async def stream(connection: Connection) -> None:
        await connection.request()
        await connection.body()
        connection.send(h11.Response(status_code=200, headers=[(b"transfer-encoding", b"chunked")]))
        connection.send(h11.Data(data=b"one"))
        await connection.writer.drain()
        await go.wait()
        connection.send(h11.Data(data=b"two"))
        connection.send(h11.EndOfMessage(headers=[(b"x-sum", b"6")]))
        connection.ended()
        await connection.reader.read()

    async def test():
        async with World(stream) as world:
            client = await world.connect()
            client.send(GET)
            await client.until(b"one\r\n")  # while the container has not said more
            go.set()
            assert (await client.until(b"\r\n\r\n")).endswith(b"two\r\n0\r\nx-sum: 6\r\n\r\n")

    run(test)


def test_pipelined_requests_are_answered_in_order_one_at_a_time():
    async def test():
        async with World(hello) as world:
            client = await world.connect()
            client.send(
                b"".join(
                    b"POST /%d HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\n%d" % (n, n)
                    for n in range(8)
                )
            )
            for number in range(8):
                _, body = await client.response()
                assert body == b"POST /%d %d" % (number, number)
            assert len(world.containers[0].writers) == 1

    run(test)


def test_head_has_no_body_and_the_connection_goes_on():
    async def answer(connection: Connection) -> None:
        while (request := await connection.request()) is not None:
            await connection.body()
            connection.send(h11.Response(status_code=200, headers=[(b"content-length", b"5")]))
            if request.method != b"HEAD":
                connection.send(h11.Data(data=b"12345"))
            connection.send(h11.EndOfMessage())
            connection.ended()

    async def test():
        async with World(answer) as world:
            client = await world.connect()
            for method in ("HEAD", "GET", "HEAD"):
                client.send(b"%b / HTTP/1.1\r\nHost: h\r\n\r\n" % method.encode())
                head, body = await client.response(method)
                assert header(head, "content-length") == b"5"
                assert body == (b"12345" if method == "GET" else b"")

    run(test)


def test_response_without_length_is_chunked_for_1_1_and_closed_for_1_0():
    async def answer(connection: Connection) -> None:
        await connection.request()
        await connection.body()
        connection.raw(b"HTTP/1.1 200 OK\r\n\r\nuntil close")
        connection.ended()

    async def test():
        async with World(answer) as world:
            client = await world.connect()
            client.send(GET)
            head, body = await client.response()
            assert header(head, "transfer-encoding") == b"chunked"
            assert body == b"until close"
            old = await world.connect()
            old.send(b"GET / HTTP/1.0\r\n\r\n")
            raw = await old.rest()
            assert raw.endswith(b"\r\n\r\nuntil close")
            assert b"chunked" not in raw

    run(test)


def test_absolute_form_takes_its_host_from_the_target():
    async def test():
        async with World(hello) as world:
            client = await world.connect(own_port=False)
            client.send(b"GET http://me--app-f.localhost/p?q HTTP/1.1\r\nHost: other\r\n\r\n")
            assert (await client.response())[1] == b"GET /p?q "

    run(test)


def test_cold_start_is_timed_in_the_response_and_a_warm_one_is_not():
    async def test():
        async with World(hello) as world:
            client = await world.connect()
            client.send(GET)
            head, _ = await client.response()
            assert header(head, "server-timing").startswith(b"queue;dur=")
            client.send(GET)
            head, _ = await client.response()
            assert header(head, "server-timing") is None

    run(test)


def test_slot_is_free_with_the_response_that_says_so_and_the_client_does_not_see_it():
    async def quick(connection: Connection) -> None:
        while await connection.request() is not None:
            await connection.body()
            number, connection.input_id = connection.input_id, None  # no frame will say it
            await connection.respond(b"ok", headers=[(b"x-portico-ended", b"%d" % number)])

    async def test():
        async with World(quick, scaling=Scaling(max_inputs=1, max_containers=1)) as world:
            client = await world.connect()
            for _ in range(3):
                client.send(GET)
                head, body = await client.response()
                assert body == b"ok"
                assert header(head, "x-portico-ended") is None
            assert world.pool.stats.running == 0

    run(test)


def test_own_port_outlives_its_app_and_is_never_given_to_two():
    async def test():
        async with World(hello) as world:
            gateway = world.gateway
            other = await gateway.open_port(world.own_port)
            assert other != world.own_port
            gateway.withdraw("ap-1")
            client = await world.connect()
            client.send(GET)
            assert (await client.response())[0].status_code == 404
            assert await gateway.open_port(world.own_port) == world.own_port

    run(test)


@pytest.mark.parametrize(
    ("answer", "connections"),
    [
        (b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok", 1),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nConnection: Close\r\n\r\nok", 2),
        (b"HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nok", 2),
        (b"HTTP/1.0 200 OK\r\ncontent-length: 2\r\nconnection: keep-alive\r\n\r\nok", 1),
    ],
    ids=["1.1", "1.1 close", "1.0", "1.0 keep-alive"],
)
def test_connection_to_a_container_is_used_again_where_the_answer_allows_it(answer, connections):
    # Nobody closes here: a server that does so would race with the next request.
    seen = set()

    async def handler(connection: Connection):
        seen.add(connection)
        while await connection.request():
            connection.raw(answer)
            connection.h11 = h11.Connection(h11.SERVER)
            connection.ended()

    async def test():
        async with World(handler) as world:
            client = await world.connect()
            for _ in range(2):
                client.send(b"POST / HTTP/1.1\r\nHost: h\r\n\r\n")
                assert (await client.response())[1] == b"ok"
            assert len(seen) == connections

    run(test)
