"""A clock that tests move, and an engine whose containers do what tests tell them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from portico.engines.base import ContainerListener
from portico.wire.container import (
    Address,
    Call,
    ContainerExit,
    ContainerSpec,
    Failed,
    Ready,
)
from portico.wire.image import ImageEnvironment
from portico.wire.manifest import FunctionSpec, MethodSpec, Scaling


class FakeTimer:
    def __init__(self, when: float, callback: Callable[[], object]) -> None:
        self.when = when
        self.callback = callback
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class FakeClock:
    def __init__(self) -> None:
        self.now = 1000.0
        self.timers: list[FakeTimer] = []

    def time(self) -> float:
        return self.now

    def call_at(self, when: float, callback: Callable[[], object], /) -> FakeTimer:
        timer = FakeTimer(when, callback)
        self.timers.append(timer)
        return timer

    def advance(self, seconds: float) -> None:
        """Let time pass, firing what falls due on the way."""
        end = self.now + seconds
        while due := [t for t in self.timers if not t.cancelled and t.when <= end]:
            timer = min(due, key=lambda t: t.when)
            self.timers.remove(timer)
            self.now = max(self.now, timer.when)
            timer.callback()
        self.now = end


class FakeContainer:
    """Notes what it is told; the test speaks for it."""

    def __init__(self, spec: ContainerSpec, listener: ContainerListener) -> None:
        self.spec = spec
        self.listener = listener
        self.pid = 1
        self.cancelled: list[int] = []
        self.probed: list[int] = []
        self.calls: list[Call] = []
        self.stopped: list[float] = []

    def become_ready(self, *, reports_end: bool = True) -> None:
        address = Address(path="/nowhere", reports_end=reports_end)
        self.listener.ready(Ready(addresses={"": address}, timings={"import": 5}))

    def fail(self, message: str = "no", traceback: str = "") -> None:
        failure = Failed(phase="import", message=message, traceback=traceback)
        self.listener.exited(ContainerExit(status=1, failure=failure))

    def die(self, status: int = -9) -> None:
        self.listener.exited(ContainerExit(status=status))

    def cancel(self, inputs: Sequence[int]) -> None:
        self.cancelled += inputs

    def probe(self, inputs: Sequence[int]) -> None:
        self.probed += inputs

    def call(self, call: Call) -> None:
        self.calls.append(call)

    def stop(self, grace: float) -> None:
        self.stopped.append(grace)


class FakeEngine:
    def __init__(self) -> None:
        self.containers: list[FakeContainer] = []
        self.shares_network = False

    def start(self, spec: ContainerSpec, listener: ContainerListener) -> FakeContainer:
        container = FakeContainer(spec, listener)
        self.containers.append(container)
        return container

    def warm(self, environment: ImageEnvironment) -> None:
        pass

    async def only_one(self, function: FunctionSpec) -> bool:
        return self.shares_network and bool(function.ports)

    async def close(self) -> None:
        pass


def function(scaling: Scaling | None = None, **fields: object) -> FunctionSpec:
    return FunctionSpec(
        name="f",
        module="m",
        qualname="f",
        image="i",
        methods=(MethodSpec(),),
        scaling=scaling or Scaling(),
        **fields,
    )


def spec(container_id: str) -> ContainerSpec:
    return ContainerSpec(
        container_id=container_id,
        app_id="ap-1",
        app_name="app",
        function_id="fu-1",
        function=function(),
        environment=ImageEnvironment(image_id="im-1", python="python", runner_path=()),
        source_root="/nowhere",
    )
