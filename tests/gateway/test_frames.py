from __future__ import annotations

import struct
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wsproto.connection import Connection, ConnectionType
from wsproto.events import CloseConnection

from portico.gateway.frames import FrameTracker, MessageTooBig, close_frame

LIMIT = 1000
LONGEST_HEADER = 14


class Frame(NamedTuple):
    first: int
    length: int
    encoding: int
    masked: bool

    @property
    def bytes(self) -> bytes:
        """The frame; its payload would be whole frames to one who took it for such."""
        mask = 0x80 if self.masked else 0
        if self.encoding == 7 and self.length < 126:
            head = bytes((self.first, mask | self.length))
        elif self.encoding <= 16 and self.length < 1 << 16:
            head = struct.pack("!BBH", self.first, mask | 126, self.length)
        else:
            head = struct.pack("!BBQ", self.first, mask | 127, self.length)
        payload = b"\x8a\x00" * (self.length // 2) + b"\x8a" * (self.length % 2)
        return head + (b"mask" if self.masked else b"") + payload


# Every first octet: reserved opcodes and bits too; lengths about their boundaries, also encoded too long.
frames = st.lists(
    st.builds(
        Frame,
        st.integers(0, 255),
        st.one_of(
            st.sampled_from([0, 1, 125, 126, 127, 65535, 65536, 65537]), st.integers(0, 70_000)
        ),
        st.sampled_from([7, 16, 64]),
        st.booleans(),
    ),
    max_size=6,
)


def fed(tracker: FrameTracker, stream: bytes, cuts: list[int]):
    """Feeds `stream` in pieces, and yields what has passed of it after each."""
    passed = b""
    cuts = sorted(min(cut, len(stream)) for cut in cuts)
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        passed += tracker.feed(stream[start:end])
        assert end - LONGEST_HEADER < len(passed) <= end
        yield passed


@given(frames, st.lists(st.integers(0, 300_000), max_size=8))
def test_everything_passes_and_boundaries_are_known_wherever_the_stream_is_cut(items, cuts):
    ends = {0}
    stream = b""
    for frame in items:
        stream += frame.bytes
        ends.add(len(stream))
    tracker = FrameTracker(limit=10**9)
    for passed in fed(tracker, stream, cuts):
        assert stream.startswith(passed)
        assert tracker.at_boundary == (len(passed) in ends)
    assert passed == stream
    assert tracker.closed == any(frame.first & 0x0F == 8 for frame in items)


def test_a_stream_of_single_octets_is_followed():
    stream = b"".join(
        Frame(0x82, length, encoding, masked).bytes
        for length in (0, 5, 126, 300)
        for encoding in (7, 16, 64)
        for masked in (False, True)
    )
    tracker = FrameTracker(limit=LIMIT)
    *_, passed = fed(tracker, stream, list(range(len(stream))))
    assert passed == stream
    assert tracker.at_boundary


@given(st.lists(st.integers(0, 500), min_size=1, max_size=6), st.lists(st.integers(0, 3000)))
def test_the_fragments_of_one_message_are_counted_together(sizes, cuts):
    fragments = [
        Frame((0x02 if n == 0 else 0) | (0x80 if n == len(sizes) - 1 else 0), size, 7, True).bytes
        for n, size in enumerate(sizes)
    ]
    ping, total = Frame(0x89, 125, 7, True).bytes, sum(sizes)
    message = ping.join(fragments)
    stream = message + message
    *_, passed = fed(FrameTracker(limit=total), stream, cuts)
    assert passed == stream
    if not total:
        return
    # Somewhere in the second message is the frame that is too much for a limit one smaller; here the first one's.
    last = max(n for n, size in enumerate(sizes) if size)
    before = ping.join(fragments[:last]) + (ping if last else b"")
    assert passed_before(FrameTracker(limit=total - 1), stream, cuts) == before


def passed_before(tracker: FrameTracker, stream: bytes, cuts: list[int]) -> bytes:
    """What passes of `stream` until a message in it is too big."""
    passed = [b""]
    with pytest.raises(MessageTooBig) as too_big:
        passed.extend(fed(tracker, stream, cuts))
    assert tracker.at_boundary
    return passed[-1] + too_big.value.before


@pytest.mark.parametrize("first", [0x82, 0x02, 0x80, 0x83, 0xC1, 0x89])
@pytest.mark.parametrize("length", [LIMIT + 1, 1 << 32, (1 << 63) + 5, (1 << 64) - 1])
def test_an_announcement_is_believed_before_a_payload_byte_comes(first, length):
    head = struct.pack("!BBQ", first, 0xFF, length) + b"mask"
    before = Frame(0x81, 3, 7, True).bytes
    assert passed_before(FrameTracker(LIMIT), before + head, list(range(30))) == before


def test_a_lone_continuation_does_not_belong_to_the_message_before_it():
    tracker = FrameTracker(LIMIT)
    tracker.feed(Frame(0x82, LIMIT, 7, True).bytes)
    tracker.feed(Frame(0x80, LIMIT, 7, True).bytes)


def test_a_control_frame_that_is_too_long_is_left_to_the_endpoint():
    stream = Frame(0x89, LIMIT, 7, True).bytes
    assert FrameTracker(LIMIT).feed(stream) == stream


def test_the_rest_of_a_frame_ends_where_the_next_one_begins():
    tracker = FrameTracker(LIMIT)
    one, two = Frame(0x82, 300, 7, False).bytes, Frame(0x82, 2, 7, False).bytes
    tracker.feed(one[:100])
    assert tracker.rest_of_frame(one[100:200]) == one[100:200]
    assert not tracker.at_boundary
    assert tracker.rest_of_frame(one[200:] + two) == one[200:]
    assert tracker.at_boundary


@pytest.mark.parametrize("mask", [b"", b"abcd"])
@pytest.mark.parametrize("reason", ["", "später", "€" * 100])
def test_close_frame_is_read_by_a_peer(mask, reason):
    peer = Connection(ConnectionType.SERVER if mask else ConnectionType.CLIENT)
    peer.receive_data(close_frame(1012, reason, mask))
    (event,) = peer.events()
    assert isinstance(event, CloseConnection)
    assert event.code == 1012
    assert event.reason == (reason if len(reason) < 50 else "€" * 41)
