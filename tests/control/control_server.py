"""A control side with a real store and real HTTP, over a runtime and a builder that live in memory."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import msgspec
import uvicorn

from portico.control.meters import Exposition
from portico.control.naming import Site
from portico.control.runtime import ActivationError, Version
from portico.control.service import Control
from portico.images.base import BuildError, BuildLogSink
from portico.pools.errors import QueueFull
from portico.wire.api import (
    AppInfo,
    ContainerInfo,
    CreateApp,
    DeployEvent,
    ServerInfo,
    SessionEvent,
)
from portico.wire.container import CallResult, LogLine
from portico.wire.image import DebianSlim, FileEntry, ImageEnvironment, ImageSpec
from portico.wire.manifest import AppManifest, FunctionSpec, MethodSpec, WebSpec

DEADLINE = 10.0


class MemoryRuntime:
    """Serves versions by remembering them; refuses those whose app declares a function called `broken`."""

    def __init__(self) -> None:
        self.active: dict[str, Version] = {}
        self.activated: list[tuple[str, int]] = []
        self.deactivated: list[str] = []
        self.bound: dict[int, socket.socket] = {}
        self.refusals = 0  # calls to come that the rate leaves no room for
        self.hold = threading.Event()
        self.hold.set()

    def warnings(self, manifest: AppManifest) -> Iterator[str]:
        return (f"{f.name} needs a {f.gpu}" for f in manifest.functions if f.gpu is not None)

    async def activate(self, version: Version) -> None:
        await asyncio.to_thread(self.hold.wait, DEADLINE)
        if any(function.name == "broken" for function in version.manifest.functions):
            raise ActivationError("the container failed in import", "Traceback: boom")
        self.active[version.app_id] = version
        self.activated.append((version.app_id, version.version))

    async def deactivate(self, app_id: str) -> None:
        version = self.active.pop(app_id, None)
        self.deactivated.append(app_id)
        for port in version.ports.values() if version else ():
            self.bound.pop(port).close()

    async def open_port(self, preferred: int | None) -> int:
        for port in (preferred or 0, 0):
            listener = socket.socket()
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                listener.bind(("127.0.0.1", port))
            except OSError:
                listener.close()
                continue
            listener.listen()
            chosen: int = listener.getsockname()[1]
            self.bound[chosen] = listener
            return chosen
        raise AssertionError("no port")

    def containers(self, app_id: str | None = None) -> list[ContainerInfo]:
        return [
            ContainerInfo(
                container_id=f"ta-{v.app_id}",
                app_id=v.app_id,
                app=v.name,
                function=v.manifest.functions[0].name,
                state="ready",
                started_at=0.0,
                running=0,
                environment=v.environment_name,
            )
            for v in self.active.values()
            if app_id in (None, v.app_id) and v.manifest.functions
        ]

    def stop_container(self, container_id: str) -> bool:
        return any(c.container_id == container_id for c in self.containers())

    def admit_call(self) -> int:
        self.refusals -= 1
        return 1 if self.refusals >= 0 else 0

    async def call(
        self,
        app_id: str,
        function: str,
        method: str,
        parameters: Mapping[str, Any],
        call_id: str,
        payload: bytes,
    ) -> CallResult:
        await asyncio.to_thread(self.hold.wait, DEADLINE)
        if payload == b"raise":
            return CallResult(input=1, call_id=call_id, ok=False, payload=b"E", error="ValueError")
        if payload == b"full":
            raise QueueFull(2000, retry_after=3)
        if payload == b"no container":
            raise ActivationError("the container failed in import", "Traceback: boom")
        return CallResult(input=1, call_id=call_id, ok=True, payload=payload[::-1])

    def close(self) -> None:
        for listener in self.bound.values():
            listener.close()
        self.bound.clear()


class MemoryBuilder:
    """Builds at once; fails for the Python version ``0.0``; remembers what it has built."""

    def __init__(self) -> None:
        self.built: dict[str, ImageEnvironment] = {}

    def cached(self, spec: ImageSpec) -> ImageEnvironment | None:
        return self.built.get(spec.image_id)

    async def build(self, spec: ImageSpec, log: BuildLogSink) -> ImageEnvironment:
        log("resolving")
        if spec.base == DebianSlim(python_version="0.0"):
            raise BuildError("no Python 0.0 on this machine", "resolving\nnot found")
        environment = ImageEnvironment(image_id=spec.image_id, python="python", runner_path=())
        self.built[spec.image_id] = environment
        return environment

    async def close(self) -> None:
        """Nothing runs."""


class MemoryGate:
    """Remembers whom it would admit."""

    def __init__(self) -> None:
        self.digests: dict[str, bytes] = {}
        self.replaced = 0

    def add(self, key: str, secret_sha256: bytes) -> None:
        self.digests[key] = secret_sha256

    def revoke(self, key: str) -> None:
        self.digests.pop(key, None)

    def replace(self, digests: Mapping[str, bytes]) -> None:
        self.digests = dict(digests)
        self.replaced += 1


class MemoryMeters:
    """Has one number, and remembers what was asked for."""

    def __init__(self) -> None:
        self.accepted: list[str] = []

    async def exposition(self, accept: str) -> Exposition:
        self.accepted.append(accept)
        return Exposition(b"up 1\n", "text/plain; version=0.0.4; charset=utf-8")


class Timers:
    """A clock that moves when told."""

    def __init__(self) -> None:
        self.waiting: list[tuple[float, Callable[[], None]]] = []

    def __call__(self, delay: float, callback: Callable[[], None]) -> Timers:
        self.waiting.append((delay, callback))
        return self

    def cancel(self) -> None:
        self.waiting.clear()


class Server:
    """A running control server and a client of it."""

    def __init__(self, state_dir: Path, site: Site, *, embedded: bool = False) -> None:
        self.runtime = MemoryRuntime()
        self.builder = MemoryBuilder()
        self.gate = MemoryGate()
        self.meters = MemoryMeters()
        self.timers = Timers()
        self._started = threading.Event()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._main, args=(state_dir, site, embedded))
        self._thread.start()
        assert self._started.wait(30)
        if self._failure is not None:
            self._thread.join()
            raise self._failure
        self.http = httpx.Client(
            base_url=self.url, headers={"authorization": f"Bearer {self.token}"}, timeout=DEADLINE
        )

    def _main(self, state_dir: Path, site: Site, embedded: bool) -> None:
        try:
            asyncio.run(self._serve(state_dir, site, embedded))
        except BaseException as error:
            self._failure = error
            self._started.set()

    async def _serve(self, state_dir: Path, site: Site, embedded: bool) -> None:
        self.loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        self.control = Control(
            state_dir=state_dir,
            site=site,
            version="0",
            info=lambda: server_info(state_dir),
            builder=self.builder,
            runtime=self.runtime,
            gate=self.gate,
            meters=self.meters,
            embedded=embedded,
            call_later=self.timers,
        )
        await self.control.start()
        self.token = self.control.issue_token("test")
        listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        config = uvicorn.Config(self.control.api, log_level="warning", lifespan="off")
        server = uvicorn.Server(config)
        serving = asyncio.create_task(server.serve([listener]))
        while not server.started:
            await asyncio.sleep(0.005)
        self._started.set()
        await self._stop.wait()
        await self.control.close()
        server.should_exit = True
        await serving
        self.runtime.close()

    def on_loop(self, callback: Callable[..., object], *args: object) -> None:
        self.loop.call_soon_threadsafe(callback, *args)

    def close(self) -> None:
        self.runtime.hold.set()
        self.http.close()
        self.loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(30)
        assert not self._thread.is_alive()

    # ---- what a client does

    def create(self, name: str, *, ephemeral: bool = False) -> AppInfo:
        body = msgspec.json.encode(CreateApp(name=name, ephemeral=ephemeral))
        return decode(self.http.post("/v1/apps", content=body), AppInfo)

    def deploy(self, app_id: str, manifest: AppManifest) -> list[DeployEvent]:
        body = msgspec.json.encode(manifest)
        response = self.http.post(f"/v1/apps/{app_id}/versions", content=body)
        assert response.status_code == 200, response.text
        return events(response)

    def ship(self, manifest: AppManifest) -> Any:
        """Create and deploy, and return the last event."""
        return self.deploy(self.create(manifest.name).app_id, manifest)[-1]

    def app(self, ref: str) -> AppInfo:
        return decode(self.http.get(f"/v1/apps/{ref}"), AppInfo)

    def put_blob(self, content: bytes) -> FileEntry:
        digest = hashlib.sha256(content).hexdigest()
        assert self.http.put(f"/v1/blobs/{digest}", content=content).status_code == 204
        return FileEntry(path="main.py", sha256=digest, size=len(content))

    @contextlib.contextmanager
    def session(self, app_id: str) -> Iterator[Iterator[SessionEvent]]:
        with self.http.stream("GET", f"/v1/apps/{app_id}/session") as response:
            assert response.status_code == 200
            yield (msgspec.json.decode(line, type=SessionEvent) for line in response.iter_lines())

    def log(self, app_id: str, text: str, container_id: str = "ta-1") -> None:
        self.on_loop(self.control.log_sink, line(app_id, text, container_id))


@contextlib.contextmanager
def running(state_dir: Path, *, embedded: bool = False, **site: Any) -> Iterator[Server]:
    server = Server(state_dir, Site(**{"workspace": "ada", **site}), embedded=embedded)
    try:
        yield server
    finally:
        server.close()


def server_info(state_dir: Path) -> ServerInfo:
    return ServerInfo(
        version="0",
        web_url="",
        api_url="",
        domain="localhost",
        workspace="ada",
        sandbox="process",
        pid=1,
        embedded=False,
        state_dir=str(state_dir),
        started_at=0.0,
    )


def decode(response: httpx.Response, type: Any) -> Any:
    assert response.status_code == 200, response.text
    return msgspec.json.decode(response.content, type=type)


def events(response: httpx.Response) -> list[DeployEvent]:
    return [msgspec.json.decode(one, type=DeployEvent) for one in response.iter_lines()]


def line(app_id: str, text: str, container_id: str = "ta-1", time: float = 1.0) -> LogLine:
    return LogLine(
        time=time,
        app_id=app_id,
        container_id=container_id,
        function="f",
        stream="stdout",
        text=text,
    )


def web(name: str = "hello", **options: Any) -> FunctionSpec:
    spec = WebSpec(kind="fastapi_endpoint", **options)
    return FunctionSpec(
        name=name, module="m", qualname=name, image="base", methods=(MethodSpec(web=spec),)
    )


def plain(name: str = "work", **options: Any) -> FunctionSpec:
    return FunctionSpec(
        name=name, module="m", qualname=name, image="base", methods=(MethodSpec(),), **options
    )


def manifest(*functions: FunctionSpec, name: str = "shop", **options: Any) -> AppManifest:
    options.setdefault("images", {"base": ImageSpec()})
    return AppManifest(name=name, functions=functions or (web(),), **options)


def eventually(condition: Callable[[], bool]) -> None:
    """Wait until `condition` holds, at most `DEADLINE` seconds."""
    deadline = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.01)
