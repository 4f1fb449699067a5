from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wsproto.connection import Connection, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, Ping

from portico.gateway.frames import FrameTracker, MessageTooBig, close_frame

frames = st.lists(
    st.tuples(st.sampled_from(["message", "part", "ping"]), st.integers(0, 70_000)), max_size=6
)


def encode(items, role) -> bytes:
    connection = Connection(role)
    data = b""
    for kind, size in items:
        if kind == "ping":
            data += connection.send(Ping(payload=b"p" * min(size, 125)))
        else:
            data += connection.send(
                BytesMessage(data=b"x" * size, message_finished=kind == "message")
            )
    return data


@given(frames, st.sampled_from(ConnectionType), st.data())
def test_boundaries_are_found_wherever_the_stream_is_cut(items, role, data):
    stream = encode(items, role)
    tracker = FrameTracker(limit=10**9)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        tracker.feed(stream[start:end])
    assert tracker.at_boundary


@given(st.lists(st.integers(0, 500), min_size=1, max_size=6))
def test_limit_counts_the_fragments_of_one_message_together(sizes):
    items = [("part", size) for size in sizes[:-1]] + [("ping", 125), ("message", sizes[-1])]
    stream = encode(items, ConnectionType.SERVER)
    FrameTracker(limit=sum(sizes)).feed(stream * 2)
    if sum(sizes):
        with pytest.raises(MessageTooBig):
            FrameTracker(limit=sum(sizes) - 1).feed(stream)


def test_inside_a_header_or_a_payload_is_no_boundary():
    stream = encode([("message", 300)], ConnectionType.SERVER)
    tracker = FrameTracker(limit=1000)
    for byte in stream[:-1]:
        tracker.feed(bytes([byte]))
        assert not tracker.at_boundary
    tracker.feed(stream[-1:])
    assert tracker.at_boundary


@pytest.mark.parametrize("mask", [b"", b"abcd"])
def test_close_frame_is_read_by_a_peer(mask):
    peer = Connection(ConnectionType.SERVER if mask else ConnectionType.CLIENT)
    peer.receive_data(close_frame(1012, mask))
    (event,) = peer.events()
    assert isinstance(event, CloseConnection)
    assert event.code == 1012
