"""How a container reads a WebSocket: frame by frame, in the order of the wire."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import CloseCode, Frame, Opcode

from containers import DEADLINE, Machine, address, run
from portico.runner.pieces import Pieces
from portico.wire.image import ImageEnvironment

HANDSHAKE = (
    b"GET /%b HTTP/1.1\r\nx-portico-input: 7\r\nx-forwarded-for: 10.0.0.1\r\nx-forwarded-proto: http\r\n"
    b"host: h\r\nconnection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n"
    b"sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
DIARY = """
    import asyncio, contextlib, json, os
    import portico
    app = portico.App("tests")

    async def raw(scope, receive, send):
        await receive()
        await send({"type": "websocket.accept"})
        patient = scope["path"] == "/patient"
        while True:
            while patient and not os.path.exists("go"):
                await asyncio.sleep(0.01)
            message = await receive()
            print("diary", json.dumps([message.get("text"), message.get("code"), message.get("reason")]))
            if message["type"] == "websocket.disconnect":
                return
            if message["text"] == "close":
                while not os.path.exists("go"):
                    await asyncio.sleep(0.01)
                await send({"type": "websocket.close", "code": 4000})
            else:
                with contextlib.suppress(OSError):  # the client may have left
                    await send({"type": "websocket.send", "text": message["text"]})

    @app.function()
    @portico.asgi_app()
    def f():
        return raw
"""


def frame(opcode: int, data: bytes = b"", fin: bool = True) -> bytes:
    return Frame(Opcode(opcode), data, fin).serialize(mask=True)


def close(code: int, reason: str = "") -> bytes:
    return frame(8, code.to_bytes(2, "big") + reason.encode())


def handed_out(stream: bytes, cuts: list[int]) -> list[bytes]:
    pieces, out = Pieces(), []
    cuts = sorted(min(cut, len(stream)) for cut in cuts)
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        pieces.feed(stream[start:end])
        while (piece := pieces.next()) is not None:
            out.append(piece)
    assert not pieces.waiting
    return out


texts = st.lists(st.one_of(st.text(max_size=300), st.sampled_from(["é" * 40_000])), max_size=4)


@given(texts, st.lists(st.integers(1, 200)), st.lists(st.integers(0, 200_000), max_size=8))
def test_pieces_make_up_the_stream_and_none_holds_bytes_of_two_frames(messages, sizes, cuts):
    frames = [b""]
    for text in messages:
        data, opcode = text.encode(), 1
        for size in sizes:  # cut through characters, too
            frames += [frame(opcode, data[:size], fin=False), frame(9, b"ping")]
            data, opcode = data[size:], 0
        frames.append(frame(opcode, data))
    stream = b"".join(frames)
    ends, position = set(), 0
    for one in frames:
        position += len(one)
        ends.add(position)
    position = 0
    for piece in handed_out(stream, cuts):
        assert not ends & set(range(position + 1, position + len(piece)))
        position += len(piece)
    assert position == len(stream)


@given(
    st.text(max_size=200),
    st.sampled_from([b"\xff", b"\xc0\xaf", b"\xed\xa0\x80", b"\xf4\x90"]),
    st.lists(st.integers(0, 400), max_size=5),
    st.booleans(),
)
def test_text_that_cannot_become_valid_is_noticed_before_its_message_ends(text, bad, cuts, whole):
    data = text.encode() + bad + b"the rest never comes"
    stream = frame(1, data + b"x" * 200)[: len(data)] if whole else frame(1, data, fin=False)
    with pytest.raises(UnicodeDecodeError):
        handed_out(stream, cuts)


@given(st.binary(max_size=300), st.lists(st.integers(0, 400), max_size=5))
def test_what_is_no_text_is_not_looked_at(data, cuts):
    compressed = frame(1, data, fin=False)
    stream = frame(2, data, fin=False) + frame(0, data) + bytes([0x41]) + compressed[1:]
    stream += frame(0, data)
    assert b"".join(handed_out(stream, cuts)) == stream


class Wire:
    """A connection to the container as the gateway makes it, with the handshake behind it."""

    def __init__(self, machine: Machine, reader, writer) -> None:
        self._machine = machine
        self.reader, self.writer = reader, writer

    @classmethod
    async def open(cls, machine: Machine, image: ImageEnvironment, path: bytes) -> Wire:
        _, watcher = await machine.ready(image, DIARY, kind="asgi_app")
        reader, writer = await asyncio.open_unix_connection(address(watcher).path)
        writer.write(HANDSHAKE % path)
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")
        return cls(machine, reader, writer)

    async def rest(self) -> bytes:
        return await asyncio.wait_for(self.reader.read(), 8)  # uvicorn gives up at 10

    def go(self) -> None:
        (folder,) = (p for p in (self._machine.folder / "run").iterdir() if p.name[:3] == "ta-")
        (folder / "go").touch()

    async def diary(self) -> list[list]:
        """What the app received, up to the end."""
        async with asyncio.timeout(DEADLINE):
            while True:
                lines = [line.text for line in self._machine.logs.lines]
                pages = [json.loads(text[6:]) for text in lines if text.startswith("diary ")]
                if pages and pages[-1][1] is not None:
                    return pages
                await asyncio.sleep(0.01)


BURST = frame(1, b"a") + frame(1, b"b")


def test_a_message_is_answered_before_the_broken_frame_behind_it_is_seen(
    tmp_path: Path, bare: ImageEnvironment
) -> None:
    async def main() -> None:
        async with Machine(tmp_path) as machine:
            wire = await Wire.open(machine, bare, b"")
            wire.writer.write(BURST + b"\xf1\x80mask")
            answers = await wire.rest()
            assert answers.startswith(b"\x81\x01a\x81\x01b\x88")
            assert int.from_bytes(answers[8:10], "big") == CloseCode.PROTOCOL_ERROR
            assert [page[:2] for page in await wire.diary()] == [
                ["a", None],
                ["b", None],
                [None, 1002],
            ]

    run(main())


@pytest.mark.parametrize(
    ("end", "seen"),
    [
        (b"", [1006, ""]),
        (close(4001, "bye"), [4001, "bye"]),
        (frame(8), [1005, ""]),
        (frame(1, b"half", fin=False), [1006, ""]),
    ],
    ids=["nothing", "close", "close without code", "half a message"],
)
@pytest.mark.parametrize("path", [b"", b"patient"], ids=["at once", "late"])
def test_an_app_gets_all_that_was_said_and_how_it_ended(
    tmp_path: Path, bare: ImageEnvironment, path: bytes, end: bytes, seen: list
) -> None:
    async def main() -> None:
        async with Machine(tmp_path) as machine:
            wire = await Wire.open(machine, bare, path)
            wire.writer.write(BURST + end)
            await wire.writer.drain()
            wire.writer.close()
            wire.go()
            said = [["a", None, None], ["b", None, None], [None, *seen]]
            assert await wire.diary() == said

    run(main())


def test_a_close_amid_the_frames_of_a_message_is_answered(
    tmp_path: Path, bare: ImageEnvironment
) -> None:
    async def main() -> None:
        async with Machine(tmp_path) as machine:
            wire = await Wire.open(machine, bare, b"")
            wire.writer.write(frame(1, b"half", fin=False) + close(1000))
            assert await wire.rest() == b"\x88\x02\x03\xe8"

    run(main())


def test_the_answer_to_the_apps_close_is_seen_behind_messages_that_nobody_wants(
    tmp_path: Path, bare: ImageEnvironment
) -> None:
    async def main() -> None:
        async with Machine(tmp_path) as machine:
            wire = await Wire.open(machine, bare, b"")
            wire.writer.write(frame(1, b"close") + BURST + close(4000))
            await wire.writer.drain()
            wire.go()
            assert await wire.rest() == b"\x88\x02\x0f\xa0"

    run(main())
