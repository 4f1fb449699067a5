"""Frames that a client may send, and frames that it may not: through the gateway, to a container's answer (RFC 6455)."""

from __future__ import annotations

import pytest
from driver import Deployed, Portico
from echoes import ECHOES
from wires import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, Wire, close, frame

MESSAGE = frame(TEXT, b"first")


@pytest.fixture(scope="module")
def url(server: Portico) -> str:
    _, script = ECHOES["asgi"]
    return deployed(server, script).url("echo")


def deployed(server: Portico, script: str) -> Deployed:
    return server.deploy("frames.py", script.replace('"sockets-asgi"', '"frames"'))


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 65535, 65536, 65537])
def test_a_message_of_any_length_comes_back(url: str, size: int) -> None:
    data = bytes(n * 7 % 251 for n in range(size))
    with Wire(url) as wire:
        for opcode, payload in ((BINARY, data), (TEXT, b"e" * size)):
            wire.send(frame(opcode, payload))
            assert wire.frame() == (0x80 | opcode, payload)


@pytest.mark.parametrize("mask", [bytes(4), b"\xff" * 4, b"\x00\xff\x00\xff", b"mask"])
def test_any_mask_will_do(url: str, mask: bytes) -> None:
    with Wire(url) as wire:
        wire.send(frame(BINARY, bytes(range(256)), mask=mask))
        assert wire.frame().payload == bytes(range(256))


def test_a_conversation_in_single_octets_is_the_same(url: str) -> None:
    stream = b"".join(
        (
            frame(TEXT, "κόσμε".encode()[:3], fin=False),
            frame(PING, b"amid"),
            frame(CONTINUATION, "κόσμε".encode()[3:]),
            frame(BINARY, bytes(130)),
            close(1000, "bye"),
        )
    )
    with Wire(url) as wire:
        wire.send(*(stream[n : n + 1] for n in range(len(stream))))
        assert [wire.frame() for _ in range(4)] == [
            (0x80 | PONG, b"amid"),
            (0x80 | TEXT, "κόσμε".encode()),
            (0x80 | BINARY, bytes(130)),
            (0x80 | CLOSE, b"\x03\xe8bye"),
        ]
        assert wire.ended()


def test_tiny_fragments_and_empty_ones_make_one_message(url: str) -> None:
    fragments = [
        frame(TEXT, fin=False),
        *(frame(CONTINUATION, b"x", fin=False) for _ in range(500)),
    ]
    with Wire(url) as wire:
        wire.send(b"".join(fragments), frame(PONG, b"unasked"), frame(CONTINUATION))
        assert wire.frame() == (0x80 | TEXT, b"x" * 500)


@pytest.mark.parametrize("size", [0, 1, 125])
def test_a_ping_is_answered_with_what_it_holds(url: str, size: int) -> None:
    with Wire(url) as wire:
        wire.send(frame(PING, b"p" * size), frame(PONG, b"q" * size), MESSAGE)
        assert wire.frame() == (0x80 | PONG, b"p" * size)
        assert wire.frame().payload == b"first"


BROKEN = {
    "reserved bit 1 without extension": (1002, frame(TEXT, b"x", rsv=4)),
    "reserved bit 2": (1002, frame(TEXT, b"x", rsv=2)),
    "reserved bit 3": (1002, frame(BINARY, b"x", rsv=1)),
    "reserved bits of a control frame": (1002, frame(PING, rsv=7)),
    **{f"reserved opcode {n:#x}": (1002, frame(n, b"x")) for n in (3, 5, 7, 0xB, 0xF)},
    "fragmented ping": (1002, frame(PING, fin=False)),
    "fragmented close": (1002, frame(CLOSE, fin=False)),
    "long ping": (1002, frame(PING, bytes(126))),
    "long close": (1002, frame(CLOSE, b"\x03\xe8" + bytes(124))),
    "no mask": (1002, frame(TEXT, b"x", masked=False)),
    "continuation of nothing": (1002, frame(CONTINUATION, b"x")),
    "unfinished continuation of nothing": (1002, frame(CONTINUATION, b"x", fin=False)),
    "text within text": (1002, frame(TEXT, b"x", fin=False) + frame(TEXT, b"y")),
    "binary within text": (1002, frame(TEXT, b"x", fin=False) + frame(BINARY, b"y")),
    "invalid text": (1007, frame(TEXT, b"\xc3(")),
    "overlong text": (1007, frame(TEXT, b"\xc0\xaf")),
    "surrogate": (1007, frame(TEXT, b"\xed\xa0\x80")),
    "text that stops within a character": (1007, frame(TEXT, "é".encode()[:1])),
    "invalid text split over frames": (
        1007,
        frame(TEXT, "é".encode()[:1], fin=False) + frame(CONTINUATION, b"("),
    ),
    "invalid text that goes on": (1007, frame(TEXT, b"ok\xff", fin=False)),
    "invalid text in a frame that goes on": (1007, frame(TEXT, b"ok\xff" + bytes(50))[:-40]),
}


@pytest.mark.parametrize("chopped", [False, True], ids=["whole", "chopped"])
@pytest.mark.parametrize(("code", "stream"), BROKEN.values(), ids=BROKEN.keys())
def test_what_breaks_the_protocol_closes_behind_the_answer_to_what_came_before(
    url: str, code: int, stream: bytes, chopped: bool
) -> None:
    with Wire(url) as wire:
        stream = MESSAGE + stream
        if chopped:
            wire.send(*(stream[n : n + 1] for n in range(len(stream))))
        else:
            wire.send(stream)
        assert wire.frame() == (0x80 | TEXT, b"first")
        assert wire.frame().code == code
        assert wire.ended()


@pytest.mark.parametrize("length", [(2 << 20) + 1, 1 << 40, (1 << 64) - 1])
@pytest.mark.parametrize("opcode", [TEXT, BINARY, PING])
def test_a_length_beyond_the_limit_closes_before_anything_of_it_came(
    url: str, opcode: int, length: int
) -> None:
    with Wire(url) as wire:
        wire.send(frame(opcode, length=length))
        assert wire.frame().code == 1009
        assert wire.ended()


@pytest.mark.parametrize("code", [1000, 1001, 1003, 1007, 1011, 3000, 3999, 4000, 4999])
def test_a_close_is_answered_with_its_code(url: str, code: int) -> None:
    with Wire(url) as wire:
        wire.send(close(code, "é" * 61))  # 122 bytes, of 123
        assert wire.frame().code == code
        assert wire.ended()


@pytest.mark.parametrize(
    ("code", "payload"),
    [
        (1002, b"\x03"),
        *((1002, number.to_bytes(2, "big")) for number in (0, 999, 1004, 1005, 1006, 1015, 1016)),
        *((1002, number.to_bytes(2, "big")) for number in (2999, 5000, 65535)),
        (1007, b"\x03\xe8\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0\x80"),
    ],
)
def test_a_close_that_says_what_none_may_say_is_a_breach(
    url: str, code: int, payload: bytes
) -> None:
    with Wire(url) as wire:
        wire.send(frame(CLOSE, payload))
        assert wire.frame().code == code
        assert wire.ended()


def test_nothing_behind_a_close_is_looked_at(url: str) -> None:
    with Wire(url) as wire:
        wire.send(MESSAGE + close(4000) + frame(TEXT, b"late") + frame(PING) + frame(3, b"bad"))
        assert wire.frame().payload == b"first"
        assert wire.frame().code == 4000
        assert wire.ended()


def test_a_close_amid_a_message_drops_it(url: str) -> None:
    with Wire(url) as wire:
        wire.send(frame(TEXT, b"half", fin=False) + close() + frame(CONTINUATION, b"late"))
        assert wire.frame() == (0x80 | CLOSE, b"")
        assert wire.ended()


def test_messages_that_cross_the_apps_close_are_dropped_and_its_answer_ends_it(url: str) -> None:
    with Wire(url) as wire:
        wire.send(frame(TEXT, b"close 4001 enough"), frame(TEXT, b"late"), frame(BINARY, bytes(9)))
        closing = wire.frame()
        assert (closing.code, closing.payload[2:]) == (4001, b"enough")
        wire.send(close(4001))
        assert wire.ended()
