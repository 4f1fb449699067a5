"""What strangers send to have two parsers disagree: refused as a whole, or at the container as exactly what it is."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import h11
import pytest
import uvloop

from gateway.corpus import CASES, NEXT, Case, Seen
from gateway.table import seen
from gateway.world import Connection, World, header


class Record:
    """A world whose container notes the requests that it sees whole; heads alone are in `world.requests`."""

    def __init__(self, runner: asyncio.Runner) -> None:
        self._runner = runner
        self.world = World(self._note)
        self.requests: list[Seen] = []

    async def _note(self, connection: Connection) -> None:
        while (head := await connection.request()) is not None:
            pieces = []
            while isinstance(event := await connection.event(), h11.Data):
                pieces.append(bytes(event.data))
            if isinstance(event, h11.EndOfMessage):
                self.requests.append(seen(head, b"".join(pieces), event.headers.raw_items()))
                await connection.respond(b"ok")

    def clear(self) -> None:
        self.requests.clear()
        self.world.requests.clear()

    def run(self, work) -> None:
        self._runner.run(work)


@pytest.fixture(scope="module")
def record() -> Iterator[Record]:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        record = Record(runner)
        runner.run(record.world.__aenter__())
        yield record
        runner.run(record.world.__aexit__())


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_is_refused_or_arrives_as_exactly_what_it_is(record: Record, case: Case):
    async def test():
        client = await record.world.connect()
        client.send(case.data + NEXT)
        statuses = []
        for _ in case.statuses:
            head, _ = await client.response()
            statuses.append(head.status_code)
        assert statuses == case.statuses
        if not case.in_step:
            assert header(head, "connection") == b"close" or case.last
            assert client.h11.trailing_data[0] + await client.rest() == b""
        client.close()
        await record.world.idle()
        assert record.requests == case.requests
        # Where the body is at fault its head has gone by then, and its handler is told that there will be no end.
        assert len(record.world.requests) <= len(case.requests) + case.streamed

    record.clear()
    record.run(test())


def test_names_of_cases_are_their_own():
    names = [case.name for case in CASES]
    assert len(names) == len(set(names)) > 400
