"""A gateway without sockets or a loop: bytes go in from a client's and a container's side, and come out.

Everything between the two transports is real. Nothing happens by itself, so thousands of examples take seconds.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable
from typing import NamedTuple

import h11

from gateway.corpus import Seen
from pools.fakes import FakeClock, FakeEngine, function, spec
from portico.gateway.auth import ProxyTokens
from portico.gateway.dialer import Dialer
from portico.gateway.downstream import ClientConnection
from portico.gateway.forwarding import Forwarding
from portico.gateway.gateway import Gateway
from portico.gateway.limits import Limits, TokenBucket
from portico.gateway.upstream import UpstreamConnection
from portico.pools.endpoint import Endpoint
from portico.pools.family import PoolFamily
from portico.pools.pool import Pool
from portico.wire.container import Address
from portico.wire.manifest import Scaling

PORT = 1
ADDRESS = Address(path="/nowhere")  # where the containers of `FakeEngine` listen
ENOUGH = 2  # connections to containers, each used again and again; the second is there should the first end
WORDS = re.compile(
    rb"in-[0-9a-f]{32}|(?<=problem.json\r\ncontent-length: )[0-9]+|(?<=\"detail\":\").*?(?=\",\")"
)
ADDED = re.compile(
    rb"x-(portico-input|forwarded-for|forwarded-proto|forwarded-host|request-id)|traceparent"
)
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


def comparable(answers: bytes) -> bytes:
    """Answers without what may be different: request ids, and in which words something is refused."""
    return WORDS.sub(b"", answers)


class Transport(asyncio.Transport):
    """Keeps what is written; the other side reads it when the test says so."""

    def __init__(self) -> None:
        super().__init__()
        self.protocol: asyncio.Protocol | None = None
        self.written = bytearray()
        self.ended = False
        self.reset = False
        self.lost = False

    def connect(self, protocol: asyncio.Protocol) -> None:
        self.protocol = protocol
        protocol.connection_made(self)

    def write(self, data: bytes) -> None:
        assert not self.ended
        self.written += data

    def writelines(self, pieces: Iterable[bytes]) -> None:
        self.write(b"".join(pieces))

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self.ended = True

    def is_closing(self) -> bool:
        return self.ended and self.lost

    def close(self) -> None:
        self.ended = self.lost = True

    def abort(self) -> None:
        self.ended = self.lost = self.reset = True

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass

    def get_write_buffer_size(self) -> int:
        return 0

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass

    def get_extra_info(self, name: str, default: object = None) -> object:
        return ("127.0.0.1", 1) if name == "peername" else default


class Loop:
    """The part of an event loop that a gateway without sockets uses."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.time = self.clock.time

    def call_later(self, delay, callback, *arguments):
        return self.clock.call_at(self.clock.now + delay, lambda: callback(*arguments))

    def create_task(self, work):
        work.close()
        raise AssertionError("nothing here has to wait")


class Container:
    """The container's end of one connection: whole requests, as h11 reads them."""

    def __init__(self, connection: UpstreamConnection, transport: Transport) -> None:
        self.connection = connection
        self.transport = transport
        self.h11 = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20)
        self.head: h11.Request | None = None
        self.body: list[bytes] = []
        self.input = 0

    def next(self) -> Seen | None:
        """The next whole request."""
        if self.transport.written:
            self.h11.receive_data(bytes(self.transport.written))
            self.transport.written.clear()
        if self.h11.our_state is h11.DONE:
            self.h11.start_next_cycle()
        while True:
            event = self.h11.next_event()
            if isinstance(event, h11.Request):
                self.head, self.body = event, []
            elif isinstance(event, h11.Data):
                self.body.append(bytes(event.data))
            elif isinstance(event, h11.EndOfMessage):
                self._answered()
                assert self.head is not None
                return seen(self.head, b"".join(self.body), event.headers.raw_items())
            else:
                return None

    def _answered(self) -> None:
        self.h11.send(h11.Response(status_code=200, headers=[(b"content-length", b"0")]))
        self.h11.send(h11.EndOfMessage())
        self.input = int(dict(self.head.headers)[b"x-portico-input"])


def seen(head: h11.Request, body: bytes, trailers: list[tuple[bytes, bytes]]) -> Seen:
    """A request without what the gateway adds, which has to be there, once."""
    added = [name for name, _ in head.headers if ADDED.fullmatch(name)]
    assert len(added) == len(set(added)) == 6, added
    lengths = [
        name for name, _ in head.headers if name in (b"content-length", b"transfer-encoding")
    ]
    assert len(lengths) <= 1, lengths
    lines = tuple(
        b"%b: %b" % (name, value)
        for name, value in head.headers.raw_items()
        if not ADDED.fullmatch(name)
    )
    return Seen(head.method, head.target, lines, body, tuple(trailers))


class Outcome(NamedTuple):
    """What came of a client's bytes: `comparable` answers, requests, and the connection's end."""

    answers: bytes
    requests: tuple[Seen, ...]
    closed: bool
    reset: bool

    @property
    def statuses(self) -> list[int]:
        return [int(s) for s in re.findall(rb"HTTP/1\.1 (\d{3}) ", self.answers)]


class Conversation:
    """One client's connection, and those that it takes to the container."""

    def __init__(self, table: Table, answer: bytes) -> None:
        self.table = table
        self.answer = answer
        self.dialer = table.gateway.dialer = Dialer(table.loop)
        self.containers: list[Container] = []
        self.transport = Transport()
        self.client = ClientConnection(table.gateway, PORT)
        self.transport.connect(self.client)
        self.requests: list[Seen] = []
        for _ in range(ENOUGH):
            self._make_upstream()

    def _make_upstream(self) -> None:
        """A connection that the dialer takes for one in its pool."""
        connection, transport = UpstreamConnection(self.dialer, ADDRESS.path), Transport()
        transport.connect(connection)
        self.dialer.keep(connection)
        self.containers.append(Container(connection, transport))

    def send(self, data: bytes) -> None:
        """Bytes come from the client, and the container answers what is whole."""
        if self.transport.lost:
            return
        self.client.data_received(data)
        progress = bool(self.answer)
        while progress:
            progress = False
            for container in self.containers:
                request = container.next()
                if request is None:
                    continue
                progress = True
                self.requests.append(request)
                self.table.ended(container.input)
                if not container.transport.lost:
                    container.connection.data_received(self.answer)

    def answered(self, pieces: Iterable[bytes]) -> None:
        """The container says `pieces` in answer to the only request, and closes."""
        (container,) = [c for c in self.containers if c.transport.written]
        assert container.next() is not None
        for piece in pieces:
            if not container.transport.lost:
                container.connection.data_received(piece)
        container.connection.connection_lost(None)
        self.table.ended(container.input)

    def end(self) -> Outcome:
        """The client goes."""
        transport = self.transport
        answers = comparable(bytes(transport.written))
        outcome = Outcome(answers, tuple(self.requests), transport.ended, transport.reset)
        self.client.connection_lost(None)
        self.table.settle()
        return outcome


class Table:
    """One gateway with one warm container, for any number of connections one after the other."""

    def __init__(self, limits: Limits | None = None) -> None:
        self.loop = Loop()
        clock = self.loop.clock
        self.gateway = Gateway(
            self.loop,
            limits=limits or Limits(),
            forwarding=Forwarding(),
            bucket=TokenBucket(None, 1, clock.time),
            proxy_tokens=ProxyTokens(),
        )
        engine = FakeEngine()
        declared = function(Scaling(min_containers=1, max_containers=1, max_inputs=100))
        self.pool = Pool(declared, engine, spec, clock=clock)
        self.pool.start()
        self.engine_container = engine.containers[0]
        self.engine_container.become_ready()
        endpoint = Endpoint(
            app_id="ap-1",
            function_id="fu-1",
            name="f",
            method="",
            pools=PoolFamily(declared, lambda _: self.pool),
            timeout=60,
        )
        self.gateway.publish("ap-1", {}, {PORT: endpoint})

    def connect(self, answer: bytes = OK) -> Conversation:
        """A connection of its own, with a container that gives `answer`, where there is one, to whole requests."""
        return Conversation(self, answer)

    def converse(self, pieces: Iterable[bytes]) -> Outcome:
        """What comes of `pieces` on a connection of their own."""
        conversation = self.connect()
        for piece in pieces:
            conversation.send(piece)
        return conversation.end()

    def ended(self, number: int) -> None:
        """The handler of an input has ended."""
        self.engine_container.listener.ended((number,))

    def settle(self) -> None:
        """Every input's handler ends, and no count is left behind."""
        for number in self.engine_container.cancelled:
            self.ended(number)
        self.engine_container.cancelled.clear()
        assert self.pool.stats.running == 0
        assert not self.gateway.connections
