from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from containers import Machine, run
from portico.sandboxes.logs import CHUNK, MAX_LINE, LineCutter, LogPipe
from portico.wire.image import ImageEnvironment


def fed(cutter: LineCutter, data: bytes, sizes: list[int]) -> Iterator[str]:
    start = 0
    for size in [*sizes, len(data)]:
        yield from cutter.feed(data[start : start + size])
        start += size
    yield from cutter.flush()


@given(st.binary(max_size=300), st.lists(st.integers(0, 40), max_size=8))
def test_lines_do_not_depend_on_how_they_were_read(data: bytes, sizes: list[int]) -> None:
    whole = LineCutter()
    expected = [*whole.feed(data), *whole.flush()]
    assert list(fed(LineCutter(), data, sizes)) == expected


def test_long_lines_are_split_and_bad_utf8_replaced() -> None:
    cutter = LineCutter()
    assert cutter.feed(b"\xff\n") == ["�"]
    lines = [*cutter.feed(b"x" * (MAX_LINE + 5)), *cutter.feed(b"\n")]
    assert [len(line) for line in lines] == [MAX_LINE, 5]


def test_a_flood_leaves_the_loop_to_others_and_holds_the_writer() -> None:
    async def main() -> None:
        reader, writer = os.pipe()
        os.set_blocking(writer, False)
        lines: list[str] = []
        pipe = LogPipe(reader, "stdout", lambda _, line: lines.append(line))
        written = os.write(writer, b"a line\n" * 9000)
        turns = 0
        while len(lines) < written // 7:
            before = len(lines)
            await asyncio.sleep(0)
            turns += 1
            assert len(lines) - before <= CHUNK // 7 + 1
        assert turns > written // CHUNK
        os.close(writer)
        pipe.finish()

    run(main())


def test_output_arrives_by_line_with_its_stream_and_nothing_is_lost_at_the_end(
    tmp_path: Path, bare: ImageEnvironment
) -> None:
    code = """
        import os, subprocess, sys, portico
        app = portico.App("tests")
        print("out é")
        print("err", file=sys.stderr)
        subprocess.run("echo child", shell=True)
        for n in range(5000):
            print("line", n)
        print("no end", end="")
        sys.stdout.flush()
        os._exit(3)
    """

    async def main() -> None:
        async with Machine(tmp_path) as machine:
            container, watcher = machine.start(bare, code)
            exit = await watcher.until_exit()
            assert exit.status == 3
            assert exit.reason == "exited with status 3"
            out = machine.logs.text("stdout").splitlines()
            assert out[:2] == ["out é", "child"]
            assert out[2:] == [*(f"line {n}" for n in range(5000)), "no end"]
            assert machine.logs.text("stderr") == "err"
            line = machine.logs.lines[0]
            assert line.container_id.startswith("ta-")
            assert line.function == "f"
            assert container.pid is not None

    run(main())
