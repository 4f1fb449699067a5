"""The gateway's own answers (SPEC §6, RFC 9457): what each looks like, and what brings it about.

| answer | test |
|---|---|
| 404 unknown host, or app stopped | `test_every_answer_of_the_gateway_is_a_problem`, `test_a_stopped_app_is_404_at_once_and_for_those_that_wait` |
| 401 | `test_proxy_auth.py` |
| 503 needs a GPU | `e2e/test_e2e_gpus.py`, `server/test_gpus.py`, `server/test_live.py` |
| 503 container failed to start | `test_a_failed_start_answers_all_that_wait_at_once_and_is_not_repeated_in_a_hot_loop` |
| 502, and what is sent again | `test_faults.py`, from `test_post_is_never_sent_twice_and_a_broken_answer_is_502` on |
| 500 of the framework | `test_e2e_web.py::test_an_exception_is_a_500_with_its_traceback_in_the_logs` |
| those of limits | `test_limits.py`, `test_limit_times.py` |
"""

from __future__ import annotations

import asyncio
import json
import re

import pytest

from gateway.world import DEADLINE, Connection, World, header, hello, run
from portico.gateway.limits import Limits
from portico.wire.container import Failed
from portico.wire.manifest import ParameterSpec, Scaling

GET = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n"
TITLES = {
    400: "Bad Request",
    401: "Unauthorized",
    404: "Not Found",
    413: "Request Entity Too Large",
    422: "Unprocessable Entity",
    429: "Too Many Requests",
    431: "Request Header Fields Too Large",
    501: "Not Implemented",
    502: "Bad Gateway",
    503: "Service Unavailable",
    505: "HTTP Version Not Supported",
}


async def hangs_up(connection: Connection) -> None:
    """A container that reads a request and closes."""
    await connection.request()


@pytest.mark.parametrize("method", [b"GET", b"HEAD"])
@pytest.mark.parametrize(
    ("status", "request_bytes", "options"),
    [
        (400, b"GET / HTTP/1.1\r\n\r\n", {}),
        (401, GET, {"auth": True}),
        (404, b"GET / HTTP/1.1\r\nHost: nobody\r\n\r\n", {}),
        (413, POST % 11, {"limits": Limits(request_body=10)}),
        (422, GET, {"parameters": [ParameterSpec(name="n", type="int")]}),
        (429, GET, {"rate": 0.001, "burst": 0}),
        (431, b"GET / HTTP/1.1\r\nHost: h\r\nA: 1\r\n\r\n", {"limits": Limits(headers=1)}),
        (501, b"CONNECT h:1 HTTP/1.1\r\nHost: h:1\r\n\r\n", {}),
        (502, POST % 0, {}),
        (503, GET, {"startup_timeout": 0.01}),
        (505, b"GET / HTTP/2.0\r\nHost: h\r\n\r\n", {}),
    ],
)
def test_every_answer_of_the_gateway_is_a_problem(status, request_bytes, options, method):
    async def test():
        async with World(hangs_up, **options) as world:
            if status == 503:
                world.failure = Failed(phase="import", message="no", traceback="")
            client = await world.connect(own_port=status != 404)
            client.send(request_bytes.replace(b"GET", method))
            head, body = await client.response(
                "HEAD" if request_bytes.startswith(b"GET") and method == b"HEAD" else "GET"
            )
            assert head.status_code == status
            assert header(head, "content-type") == b"application/problem+json"
            request_id = header(head, "x-request-id")
            assert re.fullmatch(rb"in-[0-9a-f]{32}", request_id)
            if not body:
                assert int(header(head, "content-length")) > 0
                return
            problem = json.loads(body)
            assert problem.pop("detail")
            assert problem == {
                "type": "about:blank",
                "title": TITLES[status],
                "status": status,
                "request_id": request_id.decode(),
            }

    run(test)


def test_a_stopped_app_is_404_at_once_and_for_those_that_wait():
    async def test():
        scaling = Scaling(max_inputs=1, max_containers=1)
        async with World(hello, scaling=scaling) as world:
            await world.pool.acquire()
            waiting, late = await world.connect(), await world.connect()
            waiting.send(GET)
            async with asyncio.timeout(DEADLINE):
                while not world.pool.stats.waiting:
                    await asyncio.sleep(0.002)
            world.gateway.withdraw("ap-1")
            world.pool.stop(0)
            for client in (waiting, late):
                if client is late:
                    late.send(GET)
                head, body = await client.response()
                assert head.status_code == 404
                assert json.loads(body)["detail"]
            await world.idle()

    run(test)


def test_a_failed_start_answers_all_that_wait_at_once_and_is_not_repeated_in_a_hot_loop():
    async def test():
        async with World(hello, scaling=Scaling(max_inputs=1, max_containers=3)) as world:
            world.failure = Failed(phase="import", message="ImportError: no", traceback="")
            clients = [await world.connect() for _ in range(50)]
            for _ in range(3):  # also while the pool backs off
                for client in clients:
                    client.send(GET)
                for client in clients:
                    head, body = await client.response()
                    assert (head.status_code, header(head, "retry-after")) == (503, b"1")
                    assert "ImportError: no" in json.loads(body)["detail"]
            assert len(world.containers) < 30  # for 150 requests
            await world.idle()
            world.failure = None
            async with asyncio.timeout(DEADLINE):
                while True:  # it is tried again, and heals
                    clients[0].send(GET)
                    if (await clients[0].response())[0].status_code == 200:
                        break
                    await asyncio.sleep(0.05)

    run(test)
