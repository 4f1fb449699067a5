"""A stream of bytes has no pieces: however the network cuts it, the same comes of it."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterator

import h11
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from gateway.answers import ANSWERS, BAD, CUT, Answer, unadorned
from gateway.corpus import CASES, NEXT, Case
from gateway.table import Outcome, Table, comparable
from gateway.world import World, hello, run

SHARED = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(scope="module")
def table() -> Iterator[Table]:
    table = Table()
    yield table
    table.settle()


def cut(data: bytes, places: list[int]) -> list[bytes]:
    edges = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[a:b] for a, b in itertools.pairwise(edges) if a < b]


def as_it_should(case: Case, outcome: Outcome) -> bool:
    return (
        outcome.statuses == case.statuses
        and list(outcome.requests) == case.requests
        and outcome.closed is not case.in_step
        and not outcome.reset
    )


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_every_case_cut_in_two_anywhere_and_in_single_bytes_is_the_same(table: Table, case: Case):
    data = case.data + NEXT
    whole = table.converse([data])
    assert as_it_should(case, whole), whole
    for place in range(1, len(data)):
        assert table.converse([data[:place], data[place:]]) == whole, data[:place]
    assert table.converse(data[i : i + 1] for i in range(len(data))) == whole


messages = st.sampled_from([*(case.data for case in CASES), *[NEXT] * 40])
SPOILERS = [
    *(bytes((c,)) for c in b"\r\n\0 \t:;,05f\xff"),
    *(b"\r\n", b"\r\n\r\n", b"Transfer-Encoding: chunked\r\n", b"Content-Length: 5\r\n"),
    *(b"Connection: close\r\n", NEXT),
]
edits = st.lists(
    st.tuples(
        st.integers(0, 10_000),
        st.sampled_from(["insert", "delete", "replace", "double"]),
        st.sampled_from(SPOILERS),
    ),
    max_size=4,
)


def edited(data: bytes, changes: list[tuple[int, str, bytes]]) -> bytes:
    for place, change, what in changes:
        at = place % (len(data) + 1)
        if change == "insert":
            data = data[:at] + what + data[at:]
        elif change == "delete":
            data = data[:at] + data[at + 1 :]
        elif change == "replace":
            data = data[:at] + what + data[at + len(what) :]
        else:
            data = data[:at] + data[max(0, at - 20) :]
    return data


@SHARED
@given(
    st.lists(messages, min_size=1, max_size=6), edits, st.lists(st.integers(0, 10_000), max_size=12)
)
def test_pipelines_sound_and_spoilt_cut_anywhere_are_the_same(table: Table, parts, changes, places):
    data = edited(b"".join(parts), changes)
    whole = table.converse([data])
    assert table.converse(cut(data, places)) == whole


@settings(deadline=None, max_examples=30)
@given(st.sampled_from(CASES), st.lists(st.integers(0, 10_000), max_size=4))
def test_cases_cut_anywhere_are_the_same_through_sockets(case: Case, places: list[int]):
    async def test():
        async with World(hello) as world:
            first = await world.connect()
            first.send(NEXT)
            await first.response()  # which alone is timed as a cold start
            answers = []
            for parts in ([case.data + NEXT], cut(case.data + NEXT, places)):
                client = await world.connect()
                client.writer.transport.set_write_buffer_limits(0)
                for part in parts:
                    client.send(part)
                    await client.writer.drain()
                    await asyncio.sleep(
                        0.001
                    )  # so that the kernel does not put the pieces together
                raw = await (client.until(b"GET /next ") if case.in_step else client.rest())
                answers.append(comparable(raw))
                client.close()
                await world.idle()
            assert answers[0] == answers[1]

    assume(places)
    run(test)


def as_h11_reads(raw: bytes, method: bytes) -> list[object]:
    """Every part of the response in `raw`, pieces of a body put together."""
    connection = h11.Connection(h11.CLIENT)
    connection.send(h11.Request(method=method, target="/", headers=[("host", "h")]))
    connection.send(h11.EndOfMessage())
    connection.receive_data(raw)
    parts: list[object] = []
    body = b""
    while not isinstance(event := connection.next_event(), h11.EndOfMessage):
        if isinstance(event, h11.Data):
            body += bytes(event.data)
        else:
            parts.append((event.status_code, event.reason, event.headers.raw_items()))
    assert connection.trailing_data[0] == b""
    return [*parts, body, event.headers.raw_items()]


def told(table: Table, answer: Answer, pieces: list[bytes]) -> Outcome:
    conversation = table.connect(answer=b"")
    conversation.send(answer.method + b" / HTTP/1.1\r\nHost: h\r\n\r\n")
    conversation.answered(pieces)
    return conversation.end()


@pytest.mark.parametrize("answer", ANSWERS, ids=lambda answer: answer.name)
def test_every_answer_cut_in_two_anywhere_and_in_single_bytes_is_the_same(
    table: Table, answer: Answer
):
    data, method = answer.data, answer.method
    ways = [[data[:place], data[place:]] for place in range(len(data) + 1)]
    for pieces in (*ways, [data[i : i + 1] for i in range(len(data))]):
        outcome = told(table, answer, pieces)
        assert outcome.reset is (answer.seen is CUT), pieces
        if answer.seen is BAD:
            assert outcome.statuses == [502], pieces
        elif isinstance(answer.seen, bytes):
            seen = as_h11_reads(unadorned(outcome.answers), method)
            assert seen == as_h11_reads(answer.seen, method), pieces


def test_what_is_refused_does_not_depend_on_what_else_went_wrong(table: Table):
    """The parser tells by an exception what a callback raised; one that is being handled would take its place."""
    try:
        raise BlockingIOError
    except BlockingIOError:
        outcome = table.converse([b"CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n"])
    assert outcome.statuses == [501]


@SHARED
@given(
    st.sampled_from(
        [answer for answer in ANSWERS if answer.method == b"POST"]
    ),  # asked for once only
    edits,
    st.lists(st.integers(0, 10_000), max_size=6),
)
def test_answers_sound_and_spoilt_are_one_response_or_none(table: Table, answer, changes, places):
    data = edited(answer.data, changes)
    outcomes = [told(table, answer, pieces) for pieces in ([data], cut(data, places))]
    kinds = []
    for outcome in outcomes:
        if outcome.reset:
            kinds.append(CUT)
        elif outcome.statuses[-1:] == [502]:
            kinds.append(BAD)
        else:
            kinds.append(as_h11_reads(unadorned(outcome.answers), answer.method))
    assert kinds[0] == kinds[1]
