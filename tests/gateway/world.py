"""A real gateway on real sockets, in front of containers whose every byte a test decides."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import tempfile
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path

import h11
import msgspec
import uvloop

from pools.fakes import function, spec
from portico.engines.base import ContainerListener
from portico.gateway.auth import ProxyTokens
from portico.gateway.forwarding import Forwarding
from portico.gateway.gateway import Gateway
from portico.gateway.limits import Limits, TokenBucket
from portico.pools.endpoint import Endpoint
from portico.pools.family import MAX_POOLS, PoolFamily
from portico.pools.pool import Pool
from portico.wire.container import INPUT_HEADER, Address, ContainerExit, ContainerSpec, Ready
from portico.wire.manifest import ParameterSpec, ParameterValue, Scaling

DEADLINE = 10.0  # seconds for anything that a test waits for

Handler = Callable[["Connection"], Awaitable[None]]


class Connection:
    """The container's end of one connection from the gateway, read with h11."""

    def __init__(self, container: Container, reader, writer) -> None:
        self.container = container
        self.reader: asyncio.StreamReader = reader
        self.writer: asyncio.StreamWriter = writer
        self.h11 = h11.Connection(h11.SERVER)
        self.input_id: int | None = None

    async def event(self):
        while (event := self.h11.next_event()) is h11.NEED_DATA:
            self.h11.receive_data(await self.reader.read(65536))
        return event

    async def request(self) -> h11.Request | None:
        """The next request's head, or None at the end of the connection."""
        if self.h11.our_state is h11.DONE:
            self.h11.start_next_cycle()
        event = await self.event()
        if not isinstance(event, h11.Request):
            return None
        if self.container.world.reports_end:
            name, value = event.headers[0]
            assert name == INPUT_HEADER
            self.input_id = int(value)
        self.container.world.requests.append(event)
        return event

    async def body(self) -> bytes:
        pieces = []
        while isinstance(event := await self.event(), h11.Data):
            pieces.append(bytes(event.data))
        self.container.world.trailers = list(getattr(event, "headers", []))
        return b"".join(pieces)

    async def respond(self, body: bytes = b"", status: int = 200, headers=()) -> None:
        length = (
            []
            if any(n.lower() == b"content-length" for n, _ in headers)
            else [(b"content-length", str(len(body)).encode())]
        )
        self.send(h11.Response(status_code=status, headers=[*headers, *length]))
        if body:
            self.send(h11.Data(data=body))
        self.send(h11.EndOfMessage())
        self.ended()
        await self.writer.drain()

    def send(self, event) -> None:
        self.writer.write(self.h11.send(event) or b"")

    def raw(self, data: bytes) -> None:
        self.writer.write(data)

    def ended(self) -> None:
        """The handler of the current input is over."""
        if self.input_id is not None:
            self.container.report(self.input_id)
            self.input_id = None


class Container:
    """One container: a unix socket server in this process."""

    pid = 1

    def __init__(self, world: World, container_id: str, listener: ContainerListener) -> None:
        self.world = world
        self.listener = listener
        self.path = str(world.folder / f"{container_id}.sock")
        self.cancelled: asyncio.Queue[int] = asyncio.Queue()
        self.writers: set[asyncio.StreamWriter] = set()
        self.server: asyncio.Server | None = None
        self.dead = False
        self.parameters: dict[str, ParameterValue] = {}
        world.own(self._start())

    async def _start(self) -> None:
        await self.world.may_start.wait()
        failure = self.world.failure
        if failure is not None:
            self.dead = True
            self.listener.exited(ContainerExit(status=1, failure=failure))
            return
        self.server = await asyncio.start_unix_server(self._serve, self.path)
        address = Address(path=self.path, reports_end=self.world.reports_end)
        self.listener.ready(Ready(addresses={"": address}))

    async def _serve(self, reader, writer) -> None:
        self.writers.add(writer)
        try:
            await self.world.handler(Connection(self, reader, writer))
        except (ConnectionError, h11.RemoteProtocolError):
            pass
        finally:
            self.writers.discard(writer)
            writer.close()

    def report(self, input_id: int) -> None:
        if not self.dead:
            self.listener.ended((input_id,))

    def cancel(self, inputs: Sequence[int]) -> None:
        for number in inputs:
            self.cancelled.put_nowait(number)
            self.world.cancelled.put_nowait(number)
            if self.world.ends_when_cancelled:
                self.report(number)

    def probe(self, inputs: Sequence[int]) -> None:
        pass

    def stop(self, grace: float) -> None:
        if not self.dead:
            asyncio.get_running_loop().call_soon(self.kill)

    def kill(self) -> None:
        """Die without ceremony."""
        if self.dead:
            return
        self.dead = True
        if self.server is not None:
            self.server.close()
        Path(self.path).unlink(missing_ok=True)
        for writer in tuple(self.writers):
            writer.transport.abort()
        self.listener.exited(ContainerExit(status=-9))


class StandingClock:
    """A loop whose time stands still until a test moves it; all else is the running loop's."""

    def __init__(self) -> None:
        self.now = 1000.0
        self._loop = asyncio.get_running_loop()

    def __getattr__(self, name: str):
        return getattr(self._loop, name)

    def time(self) -> float:
        return self.now


class World:
    """Gateway, one web function with a host name and a port of its own, and its containers."""

    def __init__(
        self,
        handler: Handler,
        *,
        limits: Limits | None = None,
        scaling: Scaling | None = None,
        rate: float | None = None,
        burst: float = 10,
        trusted=(),
        timeout: float = 60,
        reports_end: bool = True,
        auth: bool = False,
        ephemeral: bool = False,
        parameters: Sequence[ParameterSpec] = (),
        max_pools: int = MAX_POOLS,
        tls: ssl.SSLContext | None = None,
        startup_timeout: float = 60,
        clock: StandingClock | None = None,
    ) -> None:
        self.handler = handler
        self.tls = tls
        self.clock = clock
        self.max_pools = max_pools
        self.limits = limits or Limits()
        self.function = function(
            scaling or Scaling(max_inputs=100, max_containers=4),
            timeout=timeout,
            startup_timeout=startup_timeout,
            parameters=tuple(parameters),
        )
        self.rate, self.burst, self.trusted, self.auth = rate, burst, trusted, auth
        self.ephemeral = ephemeral
        self.requests: list[h11.Request] = []
        self.trailers: list[tuple[bytes, bytes]] = []
        self.cancelled: asyncio.Queue[int] = asyncio.Queue()
        self.containers: list[Container] = []
        self.failure = None
        self.reports_end = reports_end
        self.ends_when_cancelled = True
        self.may_start = asyncio.Event()
        self.may_start.set()
        self.proxy_tokens = ProxyTokens()
        self._tasks: set[asyncio.Task[None]] = set()

    def own(self, work) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # -- Engine

    def start(self, spec: ContainerSpec, listener: ContainerListener) -> Container:
        container = Container(self, spec.container_id, listener)
        container.parameters = spec.parameters
        self.containers.append(container)
        return container

    def warm(self, environment) -> None:
        pass

    # -- life

    async def __aenter__(self) -> World:
        loop = self.clock or asyncio.get_running_loop()
        self._folder = tempfile.TemporaryDirectory()
        self.folder = Path(self._folder.name)
        self.gateway = Gateway(
            loop,
            limits=self.limits,
            forwarding=Forwarding(self.trusted),
            bucket=TokenBucket(self.rate, self.burst, loop.time),
            proxy_tokens=self.proxy_tokens,
        )
        family = PoolFamily(self.function, self._make_pool, max_pools=self.max_pools)
        if not self.function.parameters:
            self.pool = family.for_query(b"")
        self.endpoint = Endpoint(
            app_id="ap-1",
            function_id="fu-1",
            name="f",
            method="",
            pools=family,
            timeout=self.function.timeout,
            ephemeral=self.ephemeral,
            requires_proxy_auth=self.auth,
        )
        self.port = await self.gateway.listen("127.0.0.1", 0, self.tls)
        self.own_port = await self.gateway.open_port(None)
        self.gateway.publish(
            "ap-1", {"me--app-f.localhost": self.endpoint}, {self.own_port: self.endpoint}
        )
        return self

    def _make_pool(self, values: Mapping[str, ParameterValue]) -> Pool:
        def make_spec(container_id: str) -> ContainerSpec:
            return msgspec.structs.replace(spec(container_id), parameters=dict(values))

        return Pool(self.function, self, make_spec, parameters=values)

    async def __aexit__(self, *exc) -> None:
        await self.gateway.close(0.1)
        for container in self.containers:
            container.kill()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._folder.cleanup()

    async def connect(self, own_port: bool = True, tls: ssl.SSLContext | None = None) -> Client:
        """A connection to the function's own port, or to the shared one, which may want `tls`."""
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", self.own_port if own_port else self.port, ssl=tls
        )
        return Client(reader, writer)

    def pass_time(self, seconds: float) -> None:
        """Move the standing clock on, and have every connection look at it."""
        assert self.clock is not None
        self.clock.now += seconds
        for connection in tuple(self.gateway._connections):
            connection.look_at_clock(self.clock.now)

    async def connected(self, count: int) -> None:
        """Wait until the gateway has so many client connections."""
        async with asyncio.timeout(DEADLINE):
            while self.gateway.connections != count:
                await asyncio.sleep(0.002)

    async def requested(self, count: int) -> None:
        """Wait until so many requests have reached containers."""
        async with asyncio.timeout(DEADLINE):
            while len(self.requests) < count:
                await asyncio.sleep(0.002)

    async def idle(self) -> None:
        """Wait until no input runs or waits."""
        async with asyncio.timeout(DEADLINE):
            while self.pool.busy:
                await asyncio.sleep(0.005)


class Client:
    """A client that sends bytes as they are, and reads responses with h11."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.h11 = h11.Connection(h11.CLIENT)

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    async def response(self, method: str = "GET") -> tuple[h11.Response, bytes]:
        """The next whole response on the connection."""
        if self.h11.our_state is h11.DONE:
            self.h11.start_next_cycle()
        self.h11.send(h11.Request(method=method, target="/", headers=[("host", "x")]))
        self.h11.send(h11.EndOfMessage())
        head, pieces = None, []
        async with asyncio.timeout(DEADLINE):
            while True:
                event = self.h11.next_event()
                if event is h11.NEED_DATA:
                    self.h11.receive_data(await self.reader.read(65536))
                elif isinstance(event, h11.Response):
                    head = event
                elif isinstance(event, h11.Data):
                    pieces.append(bytes(event.data))
                elif isinstance(event, h11.EndOfMessage):
                    assert head is not None
                    self.trailers = list(event.headers)
                    return head, b"".join(pieces)
                elif isinstance(event, h11.ConnectionClosed):
                    raise ConnectionResetError

    async def until(self, marker: bytes) -> bytes:
        async with asyncio.timeout(DEADLINE):
            return await self.reader.readuntil(marker)

    async def rest(self) -> bytes:
        """Everything until the other side closes."""
        async with asyncio.timeout(DEADLINE):
            with contextlib.suppress(ConnectionResetError):
                return await self.reader.read()
            return b""

    def close(self) -> None:
        self.writer.close()


def header(head: h11.Response | h11.Request, name: str) -> bytes | None:
    values = [v for n, v in head.headers if n == name.encode()]
    return values[0] if values else None


async def hello(connection: Connection) -> None:
    """Answers every request with its method, target and body."""
    while (request := await connection.request()) is not None:
        body = await connection.body()
        await connection.respond(b"%b %b %b" % (request.method, request.target, body))


def run(test: Callable[[], Awaitable[None]]) -> None:
    uvloop.run(test())


class Flood:
    """A handler whose answer is more than anybody buffers; it counts the bytes that it could send."""

    def __init__(self) -> None:
        self.sent = 0

    async def __call__(self, connection: Connection) -> None:
        await connection.request()
        await connection.body()
        connection.raw(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")
        piece = b"x" * 65536
        while True:
            connection.raw(piece)
            await connection.writer.drain()
            self.sent += len(piece)

    async def stands_still(self) -> None:
        """Wait until no more can be sent."""
        before = -1
        async with asyncio.timeout(DEADLINE):
            while self.sent != before or not self.sent:
                before = self.sent
                await asyncio.sleep(0.2)


async def slow_reader_pauses_its_container(
    world: World, flood: Flood, client: Client, request: bytes
) -> None:
    """`client`, of a `world` whose containers `flood`, asks and does not read; then it does, and goes."""
    client.writer.transport.pause_reading()
    client.send(request)
    await flood.stands_still()
    assert flood.sent < 64 * 1024**2
    client.writer.transport.resume_reading()
    await client.reader.readexactly(flood.sent + 1024**2)
    client.writer.transport.abort()
    await world.idle()
