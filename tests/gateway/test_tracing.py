"""Traces that pass through the gateway (W3C Trace Context), and what a cold start says of itself (Server-Timing)."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Sequence

import pytest

from gateway.sockets import HANDSHAKE, echo
from gateway.world import Container, World, header, hello, run
from portico.engines.base import ContainerListener
from portico.wire.container import Address, ContainerSpec, Failed, Ready

TRACE = b"0af7651916cd43dd8448eb211c80319c"
PARENT = b"b7ad6b7169203331"
VALID = b"00-%b-%b-01" % (TRACE, PARENT)
STATE = (b"one=1,two=2", b"three=3")
GENERATED = re.compile(rb"00-[0-9a-f]{32}-[0-9a-f]{16}-01")


async def traced(
    traceparents: Sequence[bytes], states: Sequence[bytes] = STATE, extra: bytes = b""
) -> tuple[list[bytes], list[bytes], bytes]:
    """What a container is sent of these headers; and the digits of the request's id."""
    async with World(hello) as world:
        client = await world.connect()
        lines = [b"TraceParent: %b\r\n" % value for value in traceparents]
        lines += [b"Tracestate: %b\r\n" % value for value in states]
        client.send(b"GET / HTTP/1.1\r\nHost: h\r\n" + b"".join(lines) + extra + b"\r\n")
        head, _ = await client.response()
        assert head.status_code == 200
        (request,) = world.requests
        request_id = header(head, "x-request-id")
        assert request_id is not None
        return (
            [v for n, v in request.headers if n == b"traceparent"],
            [v for n, v in request.headers if n == b"tracestate"],
            request_id.removeprefix(b"in-"),
        )


@pytest.mark.parametrize(
    "value",
    [
        VALID,
        VALID[:-2] + b"00",  # not sampled
        VALID[:-2] + b"ff",  # flags not known yet
        b"01" + VALID[2:],  # a later version, which begins like this one
        b"fe" + VALID[2:] + b"-what the future brings",
    ],
)
def test_a_trace_passes_untouched_with_its_state(value: bytes) -> None:
    async def test():
        parents, states, _ = await traced([value])
        assert parents == [value]
        assert tuple(states) == STATE

    run(test)


@pytest.mark.parametrize(
    "values",
    [
        (),
        (b"",),
        (b"00-1-2-01",),
        (VALID[:-1],),
        (VALID + b"0",),
        (VALID + b"-",),  # version 00 is so long and no longer
        (b"01" + VALID[2:] + b"00",),  # and a later one goes on behind a dash
        (VALID.upper(),),
        (VALID.replace(b"-", b"_"),),
        (b"ff" + VALID[2:],),
        (b"0g" + VALID[2:],),
        (b"00-%b-%b-01" % (b"0" * 32, PARENT),),
        (b"00-%b-%b-01" % (TRACE, b"0" * 16),),
        (b"00-%b-%b-01" % (b"x" + TRACE[1:], PARENT),),
        (VALID, VALID),
        (VALID, b"00-%b-%b-01" % (TRACE[::-1], PARENT)),
        (VALID, b""),
    ],
)
def test_a_trace_that_cannot_be_followed_is_replaced_and_loses_its_state(
    values: tuple[bytes, ...],
) -> None:
    async def test():
        parents, states, digits = await traced(values)
        (parent,) = parents
        assert GENERATED.fullmatch(parent)
        assert parent[3:35] == digits  # the id of the request leads to its trace
        assert states == []

    run(test)


def test_a_trace_that_connection_names_ends_here_and_a_new_one_begins():
    async def test():
        parents, states, digits = await traced([VALID], extra=b"Connection: traceparent\r\n")
        assert [p[3:35] for p in parents] == [digits]
        assert states == []
        parents, states, _ = await traced([VALID], extra=b"Connection: tracestate\r\n")
        assert (parents, states) == ([VALID], [])

    run(test)


# ---- Server-Timing

BOOT = 0.2  # seconds a container takes to come up
IMPORT = 60.0  # milliseconds of them that it says it spent importing


class Slow(Container):
    """A container that needs time to be ready, and says what for."""

    async def _start(self) -> None:
        await asyncio.sleep(BOOT)
        self.server = await asyncio.start_unix_server(self._serve, self.path)
        ready = Ready(addresses={"": Address(path=self.path)}, timings={"import": IMPORT})
        self.listener.ready(ready)


class SlowWorld(World):
    def start(self, spec: ContainerSpec, listener: ContainerListener) -> Container:
        container = Slow(self, spec.container_id, listener)
        self.containers.append(container)
        return container


def phases(line: bytes) -> dict[str, float]:
    return {
        name: float(duration)
        for name, duration in re.findall(r"(\w+);dur=([0-9.]+)", line.decode("ascii"))
    }


def test_phases_of_a_cold_start_add_up_to_the_wait_and_a_warm_answer_has_none():
    async def test():
        async with SlowWorld(hello) as world:
            client = await world.connect()
            began = time.monotonic()
            client.send(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
            head, _ = await client.response()
            waited = (time.monotonic() - began) * 1000
            timing = header(head, "server-timing")
            assert timing is not None
            spent = phases(timing)
            assert list(spent) == ["queue", "boot", "import"]
            assert spent["import"] == IMPORT
            # The loop's clock counts milliseconds.
            assert BOOT * 1000 - 5 <= sum(spent.values()) <= waited + 5
            assert spent["boot"] >= BOOT * 1000 - IMPORT - 5
            client.send(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
            head, _ = await client.response()
            assert header(head, "server-timing") is None

    run(test)


def test_a_websocket_that_woke_a_container_is_told_so_in_its_101():
    async def test():
        async with SlowWorld(echo) as world:
            world.closed = asyncio.Queue()
            first = await world.connect()
            first.send(HANDSHAKE)
            answer = await first.until(b"\r\n\r\n")
            assert answer.startswith(b"HTTP/1.1 101 ")
            (line,) = [x for x in answer.split(b"\r\n") if x.startswith(b"server-timing:")]
            assert sum(phases(line).values()) >= BOOT * 1000 - 5
            second = await world.connect()
            second.send(HANDSHAKE)
            answer = await second.until(b"\r\n\r\n")
            assert answer.startswith(b"HTTP/1.1 101 ")
            assert b"server-timing" not in answer
            for client in (first, second):
                client.close()
            await world.idle()

    run(test)


def test_the_gateways_own_answer_has_no_timing():
    async def test():
        async with World(hello) as world:
            world.failure = Failed(phase="import", message="no", traceback="")
            client = await world.connect()
            client.send(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
            head, _ = await client.response()
            assert head.status_code == 503
            assert header(head, "server-timing") is None
            assert header(head, "x-request-id") is not None

    run(test)
