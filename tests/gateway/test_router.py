"""Routes are found by one look-up, however many there are, and change as a whole."""

from __future__ import annotations

import gc
import sys

import pytest

from gateway.world import World, hello, run
from portico.gateway.head import RequestHead
from portico.pools.endpoint import Endpoint


def publish(world: World, count: int) -> None:
    """`count` apps with a host and a port each, besides the one that is there."""
    for number in range(count):
        endpoint = Endpoint(
            app_id=f"ap-many-{number}",
            function_id="fu-1",
            name="f",
            method="",
            pools=world.endpoint.pools,
            timeout=1,
        )
        hosts = {f"me--app{number}-f.localhost": endpoint}
        world.gateway.publish(endpoint.app_id, hosts, {100_000 + number: endpoint})


def head(host: bytes) -> RequestHead:
    made = RequestHead(b"GET", b"/")
    made.read([(b"Host", host)])
    return made


def steps(work) -> int:
    """How many instructions of Python's `work` takes, itself included."""
    count = 0

    def trace(frame, event, _):
        nonlocal count
        frame.f_trace_opcodes = True
        count += event == "opcode"
        return trace

    before = sys.gettrace()
    gc.disable()  # a collection calls whoever wants to know of it
    sys.settrace(trace)
    try:
        work()
    finally:
        sys.settrace(before)
        gc.enable()
    return count


@pytest.mark.parametrize("by_port", [False, True])
def test_a_thousand_endpoints_cost_a_request_not_one_instruction(by_port):
    async def test():
        async with World(hello) as world:
            port = world.own_port if by_port else None
            asked = head(b"me--app-f.localhost")

            def admit() -> None:
                assert world.gateway.admit(asked, port) is world.endpoint

            admit()
            alone = steps(admit)
            publish(world, 1000)
            assert steps(admit) == alone
            assert world.gateway.admit(head(b"me--app999-f.localhost"), None).app_id.endswith("999")

    run(test)


def test_an_app_that_is_published_again_loses_the_routes_it_had_and_no_other_does():
    async def test():
        async with World(hello) as world:
            publish(world, 3)
            router = world.gateway.router
            again = router.of_host(b"me--app1-f.localhost")
            world.gateway.publish("ap-many-1", {"new.example.com": again}, {})
            assert router.of_host(b"new.example.com") is again
            assert router.of_host(b"me--app1-f.localhost") is None
            assert router.of_port(100_001) is None
            assert router.of_host(b"me--app2-f.localhost").app_id == "ap-many-2"
            world.gateway.withdraw("ap-many-2")
            assert router.of_host(b"me--app2-f.localhost") is None
            assert router.of_port(100_000).app_id == "ap-many-0"
            assert router.of_host(b"me--app-f.localhost") is world.endpoint

    run(test)
