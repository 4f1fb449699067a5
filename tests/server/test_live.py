"""Versions coming and going on pools, with an engine whose containers a test moves."""

from __future__ import annotations

import asyncio
import dataclasses
from collections import defaultdict

import msgspec
import pytest

from pools.fakes import FakeEngine
from portico.control.runtime import ActivationError, Version
from portico.gateway.limits import TokenBucket
from portico.pools.errors import NeedsGpu, QueueFull, StartFailed
from portico.pools.tally import Subject
from portico.server.exposition import Load
from portico.server.gpus import Gpus
from portico.server.live import LiveApps
from portico.server.metrics import add_loads
from portico.wire.container import CallResult, LogLine
from portico.wire.image import ImageEnvironment, ImageSpec
from portico.wire.manifest import AppManifest, FunctionSpec, MethodSpec, Scaling, WebSpec


class FakeRoutes:
    def __init__(self) -> None:
        self.hosts: dict[str, object] = {}

    def publish(self, app_id, hosts, ports) -> None:
        self.hosts = dict(hosts)

    def withdraw(self, app_id) -> None:
        self.hosts = {}

    async def open_port(self, preferred):
        return preferred or 1


def loads(apps: LiveApps) -> dict[Subject, Load]:
    found: defaultdict[Subject, Load] = defaultdict(Load)
    for app in apps.live:
        add_loads(found, app)
    return found


class World:
    def __init__(self, **bounds: object) -> None:
        self.engine = FakeEngine()
        self.routes = FakeRoutes()
        self.logs: list[LogLine] = []
        self.apps = LiveApps(self.engine, self.routes, self.logs.append, **bounds)

    async def until_containers(self, count: int) -> None:
        async with asyncio.timeout(5):
            while len(self.engine.containers) < count:
                await asyncio.sleep(0)


def version(number: int, ephemeral: bool = True, port: int = 7) -> Version:
    web = WebSpec(kind="asgi_app")
    function = FunctionSpec(
        name="f", module="m", qualname="f", image="i", methods=(MethodSpec(web=web),), timeout=1
    )
    return Version(
        app_id="ap-1",
        name="app",
        version=number,
        manifest=AppManifest(name="app", functions=(function,), images={"i": ImageSpec()}),
        ephemeral=ephemeral,
        source_root=f"/v{number}",
        function_ids={"f": "fu-1"},
        environments={"i": ImageEnvironment(image_id="im", python="p", runner_path=())},
        variables=lambda spec: {"V": str(number)},
        hosts={"f": ["h"]},
        ports={"f": port},
    )


def run(test) -> None:
    asyncio.run(test())


def test_function_that_needs_a_gpu_has_no_containers_and_says_why():
    async def test():
        world = World(gpus=Gpus())
        needy = version(1)
        (function,) = needy.manifest.functions
        function = msgspec.structs.replace(function, gpu="T4", scaling=Scaling(min_containers=1))
        manifest = msgspec.structs.replace(needy.manifest, functions=(function,))
        await world.apps.activate(dataclasses.replace(needy, version=2, manifest=manifest))
        with pytest.raises(NeedsGpu, match="f needs the GPU T4, which this server does not have"):
            world.routes.hosts["h"].pools.for_query(b"")
        assert world.engine.containers == []
        (warning,) = world.apps.warnings(manifest)
        assert "answers 503" in warning

    run(test)


def test_first_version_is_routed_without_starting_a_container():
    async def test():
        world = World()
        await world.apps.activate(version(1))
        assert list(world.routes.hosts) == ["h"]
        assert world.engine.containers == []

    run(test)


def test_unused_version_is_replaced_at_once():
    async def test():
        world = World()
        await world.apps.activate(version(1))
        await world.apps.activate(version(2))
        lease = asyncio.create_task(world.routes.hosts["h"].pools.for_query(b"").acquire())
        await world.until_containers(1)
        (container,) = world.engine.containers
        assert container.spec.source_root == "/v2"
        assert container.spec.env == {"V": "2"}
        container.become_ready()
        await lease

    run(test)


def test_new_containers_are_ready_before_the_routes_switch_and_the_old_ones_drain_after():
    async def test():
        world = World()
        await world.apps.activate(version(1))
        old_endpoint = world.routes.hosts["h"]
        task = asyncio.create_task(old_endpoint.pools.for_query(b"").acquire())
        await world.until_containers(1)
        old = world.engine.containers[0]
        old.become_ready()
        running = await task
        switching = asyncio.create_task(world.apps.activate(version(2, port=8)))
        await world.until_containers(2)
        assert world.routes.hosts["h"] is old_endpoint
        world.engine.containers[1].become_ready()
        await switching
        assert world.routes.hosts["h"] is not old_endpoint
        assert old.stopped == []
        assert {c.state for c in world.apps.containers()} == {"ready", "draining"}
        running.member.ended((running.input_id,))
        assert old.stopped
        old.die(0)
        async with asyncio.timeout(5):
            while len(world.apps.containers()) > 1:
                await asyncio.sleep(0)

    run(test)


def test_version_that_does_not_start_changes_nothing():
    async def test():
        world = World()
        await world.apps.activate(version(1))
        endpoint = world.routes.hosts["h"]
        task = asyncio.create_task(endpoint.pools.for_query(b"").acquire())
        await world.until_containers(1)
        world.engine.containers[0].become_ready()
        await task
        switching = asyncio.create_task(world.apps.activate(version(2)))
        await world.until_containers(2)
        world.engine.containers[1].fail("SyntaxError", "tb")
        with pytest.raises(ActivationError, match="SyntaxError") as raised:
            await switching
        assert raised.value.detail == "tb"
        assert world.routes.hosts["h"] is endpoint
        assert world.engine.containers[0].stopped == []

    run(test)


def test_deactivated_app_has_no_routes_and_no_containers():
    async def test():
        world = World()
        await world.apps.activate(version(1))
        task = asyncio.create_task(world.routes.hosts["h"].pools.for_query(b"").acquire())
        await world.until_containers(1)
        (container,) = world.engine.containers
        container.become_ready()
        await task
        ending = asyncio.create_task(world.apps.deactivate("ap-1"))
        async with asyncio.timeout(5):
            while not container.stopped:
                await asyncio.sleep(0)
        assert world.routes.hosts == {}
        assert not ending.done()
        container.die(0)
        await ending
        assert world.apps.containers() == []
        await world.apps.deactivate("ap-1")

    run(test)


def test_abnormal_end_of_a_container_is_logged():
    async def test():
        world = World()
        await world.apps.activate(version(1))
        task = asyncio.create_task(world.routes.hosts["h"].pools.for_query(b"").acquire())
        await world.until_containers(1)
        world.engine.containers[0].become_ready()
        await task
        world.engine.containers[0].die(-11)
        (line,) = world.logs
        assert (line.stream, line.text) == ("system", "container killed by signal 11")

    run(test)


async def _call(world: World) -> tuple[asyncio.Task[CallResult], object]:
    await world.apps.activate(version(1))
    task = asyncio.create_task(world.apps.call("ap-1", "f", "", {}, "fc-1", b"args"))
    await world.until_containers(1)
    (container,) = world.engine.containers
    container.become_ready()
    async with asyncio.timeout(5):
        while not container.calls:
            await asyncio.sleep(0)
    return task, container


def test_call_gets_its_result_and_frees_its_slot_when_it_has_ended():
    async def test():
        world = World()
        task, container = await _call(world)
        (call,) = container.calls
        assert (call.call_id, call.payload) == ("fc-1", b"args")
        container.listener.called(
            CallResult(input=call.input, call_id="fc-1", ok=True, payload=b"r")
        )
        assert (await task).payload == b"r"
        assert world.apps.containers()[0].running == 1
        container.listener.ended((call.input,))
        assert world.apps.containers()[0].running == 0

    run(test)


def test_call_whose_container_dies_fails_with_the_reason():
    async def test():
        world = World()
        task, container = await _call(world)
        container.die()
        with pytest.raises(ActivationError, match="killed by signal 9"):
            await task

    run(test)


def test_call_longer_than_its_timeout_is_cancelled():
    async def test():
        world = World()
        task, container = await _call(world)
        with pytest.raises(ActivationError, match="timeout of 1 s"):
            await task
        assert container.cancelled == [container.calls[0].input]

    run(test)


def test_calls_are_counted_by_the_rate_and_wait_no_more_than_may():
    async def test():
        now = 0.0
        bucket = TokenBucket(2, 2, lambda: now)
        world = World(rate=bucket, max_waiting=2)
        assert [world.apps.admit_call() for _ in range(3)] == [0, 0, 1]
        now = 0.5
        assert world.apps.admit_call() == 0
        await world.apps.activate(version(1))
        waiting = [
            asyncio.create_task(world.apps.call("ap-1", "f", "", {}, f"fc-{n}", b""))
            for n in range(2)
        ]
        await world.until_containers(1)
        with pytest.raises(QueueFull, match="2 inputs are waiting"):
            await world.apps.call("ap-1", "f", "", {}, "fc-3", b"")
        for task in waiting:
            task.cancel()
        await asyncio.wait(waiting)

    run(test)


def test_on_a_shared_network_a_port_passes_from_the_old_version_to_the_new_one():
    async def test():
        world = World()
        world.engine.shares_network = True
        await world.apps.activate(port_version(1))
        pool = family(world).for_query(b"")
        first = asyncio.create_task(pool.acquire())
        await world.until_containers(1)
        assert pool.scaling.max_containers == 1
        old = world.engine.containers[0]
        old.become_ready(reports_end=False)
        lease = await first
        lease.address("")
        await world.apps.activate(port_version(2))  # without a second container to wait for
        lease.finish()
        assert old.stopped
        old.die(0)
        waiting = asyncio.create_task(family(world).for_query(b"").acquire())
        await world.until_containers(2)
        world.engine.containers[1].become_ready(reports_end=False)
        assert (await waiting).member.state.value == "ready"

    run(test)


def port_version(number: int) -> Version:
    made = version(number)
    (function,) = made.manifest.functions
    web = WebSpec(kind="web_server", port=8000)
    scaling = Scaling(min_containers=0, max_containers=5, buffer_containers=0)
    function = msgspec.structs.replace(function, methods=(MethodSpec(web=web),), scaling=scaling)
    manifest = msgspec.structs.replace(made.manifest, functions=(function,))
    return dataclasses.replace(made, manifest=manifest)


def family(world: World):
    return world.routes.hosts["h"].pools


def test_a_new_version_goes_on_with_the_numbers_of_the_old_and_other_apps_have_their_own():
    async def test():
        world = World()
        await world.apps.activate(version(1))
        endpoint = world.routes.hosts["h"]
        endpoint.tally.answer(200, 0.1)
        lease = asyncio.create_task(endpoint.pools.for_query(b"").acquire())
        await world.until_containers(1)
        world.engine.containers[0].fail()
        with pytest.raises(StartFailed):
            await lease
        await world.apps.activate(version(2))
        tally = world.routes.hosts["h"].tally
        assert tally is endpoint.tally
        assert tally.subject == Subject("main", "app", "f", ephemeral=True)
        assert (tally.answered[2], tally.starts, tally.failed_starts) == (1, 1, 1)
        deployed = dataclasses.replace(version(1, ephemeral=False), app_id="ap-2")
        await world.apps.activate(deployed)
        assert world.routes.hosts["h"].tally is not tally
        assert sum(world.routes.hosts["h"].tally.answered) == 0

    run(test)


def test_loads_are_summed_over_versions_and_end_with_the_app():
    async def test():
        world = World()
        await world.apps.activate(version(1))
        pool = world.routes.hosts["h"].pools.for_query(b"")
        waiting = [asyncio.create_task(pool.acquire()) for _ in range(2)]
        await world.until_containers(2)
        world.engine.containers[0].become_ready()
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        (load,) = loads(world.apps).values()
        assert (load.running, load.waiting) == (1, 1)
        assert load.containers == {"ready": 1, "starting": 1}
        activating = asyncio.create_task(world.apps.activate(version(2)))
        await world.until_containers(3)
        world.engine.containers[2].become_ready()
        await activating
        ((subject, load),) = loads(world.apps).items()
        assert subject == Subject("main", "app", "f", ephemeral=True)
        assert load.containers["draining"] == 1  # of the version that leaves
        stopping = asyncio.create_task(world.apps.deactivate("ap-1"))
        await asyncio.sleep(0)
        for container in world.engine.containers:
            container.die()
        await stopping
        assert loads(world.apps) == {}
        await asyncio.gather(*waiting, return_exceptions=True)

    run(test)
