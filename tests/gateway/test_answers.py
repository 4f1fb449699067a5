"""What containers say: passed on as what it is, or not at all."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator

import h11
import pytest
import uvloop
from hypothesis import given
from hypothesis import strategies as st

from gateway.answers import ANSWERS, BAD, CUT, Answer, unadorned
from gateway.world import Connection, World
from portico.gateway.problems import Refusal, encode


class Stage:
    """A world whose container answers as it is told, and closes."""

    def __init__(self, runner: asyncio.Runner) -> None:
        self._runner = runner
        self.world = World(self._speak)
        self.answer = b""

    async def _speak(self, connection: Connection) -> None:
        if await connection.request() is not None:
            await connection.body()
            connection.raw(self.answer)
            connection.ended()

    def run(self, work) -> None:
        self._runner.run(work)


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        stage = Stage(runner)
        runner.run(stage.world.__aenter__())
        yield stage
        runner.run(stage.world.__aexit__())


@pytest.mark.parametrize("answer", ANSWERS, ids=lambda answer: answer.name)
def test_reaches_the_client_as_what_it_is_or_not_at_all(stage: Stage, answer: Answer):
    async def test():
        stage.answer = answer.data
        client = await stage.world.connect()
        client.send(answer.method + b" / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
        raw, reset = b"", False
        try:
            while piece := await client.reader.read(65536):
                raw += piece
        except ConnectionResetError:
            reset = True
        client.close()
        await stage.world.idle()
        if answer.seen is CUT:
            assert reset
        elif answer.seen is BAD:
            assert not reset
            assert raw.startswith(b"HTTP/1.1 502 "), raw
            assert b"evil" not in raw
        else:
            assert not reset
            assert unadorned(raw) == answer.seen

    async def in_time():
        async with asyncio.timeout(10):
            await test()

    stage.run(in_time())


def test_names_of_answers_are_their_own():
    names = [answer.name for answer in ANSWERS]
    assert len(names) == len(set(names)) > 100


@given(st.text(), st.booleans())
def test_words_of_a_refusal_stay_in_its_body(words: str, close: bool):
    refusal = Refusal(400, "\r\n\r\nHTTP/1.1 200 OK\r\nSet-Cookie: a\0" + words)
    raw = encode(refusal, b"in-1", close=close, head_only=False)
    client = h11.Connection(h11.CLIENT)
    client.send(h11.Request(method="GET", target="/", headers=[("host", "h")]))
    client.send(h11.EndOfMessage())
    client.receive_data(raw)
    head, body, _ = (client.next_event() for _ in range(3))
    names = {name for name, _ in head.headers} - {b"connection"}
    assert names == {b"content-type", b"content-length", b"x-request-id"}
    assert json.loads(bytes(body.data))["detail"] == refusal.detail
    assert client.trailing_data == (b"", False)
