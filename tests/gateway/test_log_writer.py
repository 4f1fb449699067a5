"""The thread behind the access log, on real files, pipes and a full disk."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import stat
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from gateway.world import DEADLINE
from portico.gateway import log_writer
from portico.gateway.log_writer import BATCH, MAX_WAITING, LogWriter


class Line(msgspec.Struct):
    number: int
    text: str = ""


@pytest.fixture
def complaints() -> list[str]:
    return []


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_writer, "INTERVAL", 0.01)


@contextlib.contextmanager
def writing(target: Path | int, complaints: list[str]) -> Iterator[LogWriter]:
    writer = LogWriter(target, complain=complaints.append)
    writer.open()
    try:
        yield writer
    finally:
        writer.close()


def numbers(data: bytes) -> list[int]:
    """The numbers of whole lines; a line that is none is an error."""
    assert data == b"" or data.endswith(b"\n")
    return [json.loads(line)["number"] for line in data.splitlines()]


def wait_for(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.002)


def test_lines_are_written_in_order_without_waiting_for_the_end_and_all_of_them_at_the_end(
    tmp_path: Path, complaints: list[str]
) -> None:
    path = tmp_path / "access.log"
    with writing(path, complaints) as writer:
        writer.write(Line(0))
        wait_for(lambda: numbers(path.read_bytes()) == [0])
        for number in range(1, 3 * BATCH + 7):
            writer.write(Line(number))
    assert numbers(path.read_bytes()) == [*range(3 * BATCH + 7)]
    assert (writer.dropped, complaints) == (0, [])
    assert stat.S_IMODE(path.stat().st_mode) & 0o137 == 0
    assert "portico-access-log" not in [thread.name for thread in threading.enumerate()]


def test_a_file_is_appended_to(tmp_path: Path, complaints: list[str]) -> None:
    path = tmp_path / "access.log"
    for number in range(2):
        with writing(path, complaints) as writer:
            writer.write(Line(number))
    assert numbers(path.read_bytes()) == [0, 1]


@pytest.mark.parametrize("emptied", [False, True])
def test_a_file_that_is_moved_away_is_made_anew_and_no_line_is_lost(
    tmp_path: Path, complaints: list[str], emptied: bool
) -> None:
    path, old = tmp_path / "access.log", tmp_path / "access.log.1"
    with writing(path, complaints) as writer:
        writer.write(Line(0))
        wait_for(lambda: path.stat().st_size)
        if emptied:  # copied and truncated in place, as some rotate
            old.write_bytes(path.read_bytes())
            os.truncate(path, 0)
        else:
            path.rename(old)
        writer.write(Line(1))
        wait_for(lambda: path.exists() and path.stat().st_size)
    assert (numbers(old.read_bytes()), numbers(path.read_bytes())) == ([0], [1])
    assert (writer.dropped, complaints) == (0, [])


def test_a_folder_that_goes_and_comes_back_costs_the_lines_between(
    tmp_path: Path, complaints: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_writer, "CALM", 0.0)
    folder = tmp_path / "logs"
    folder.mkdir()
    with writing(folder / "access.log", complaints) as writer:
        folder.rename(tmp_path / "elsewhere")
        writer.write(Line(0))
        wait_for(lambda: writer.dropped == 1)
        folder.mkdir()
        writer.write(Line(1))
        wait_for(lambda: len(complaints) == 2)
    assert numbers((folder / "access.log").read_bytes()) == [1]
    assert "No such file" in complaints[0]
    assert "written again; 1 line" in complaints[1]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full here")
def test_a_full_disk_is_said_once_and_every_dropped_line_is_counted(complaints: list[str]) -> None:
    with writing(Path("/dev/full"), complaints) as writer:
        for number in range(5):
            writer.write(Line(number))
            wait_for(lambda: writer.dropped == number + 1)  # noqa: B023
    (complaint,) = complaints
    assert "/dev/full: No space left on device" in complaint


def test_a_line_that_the_disk_had_no_room_for_does_not_spoil_the_next(
    tmp_path: Path, complaints: list[str]
) -> None:
    path = tmp_path / "access.log"
    start = 1 << 30  # a hole: no other file of this process is as long
    room = start + 150
    path.touch()
    os.truncate(path, start)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    with writing(path, complaints) as writer:
        resource.setrlimit(resource.RLIMIT_FSIZE, (room, hard))
        try:
            for number in range(4):  # of 100 bytes and more each
                writer.write(Line(number, "x" * 100))
            wait_for(lambda: writer.dropped == 3)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        writer.write(Line(9))
    with path.open("rb") as file:
        file.seek(start)
        first, torn, last = file.read().splitlines()
    assert (json.loads(first)["number"], json.loads(last)["number"]) == (0, 9)
    with pytest.raises(ValueError, match="Unterminated string"):
        json.loads(torn)
    assert writer.dropped == 3
    assert len(complaints) == 1


def test_a_reader_that_does_not_read_blocks_nobody_and_what_does_not_fit_is_counted(
    complaints: list[str],
) -> None:
    reading, target = os.pipe()
    total = MAX_WAITING + 40 * BATCH
    received = bytearray()

    def read_all() -> None:
        while data := os.read(reading, 1 << 20):
            received.extend(data)

    with contextlib.ExitStack() as stack:
        stack.callback(os.close, reading)
        reader = threading.Thread(target=read_all)
        with writing(target, complaints) as writer:
            for number in range(total):  # returns, although nobody reads
                writer.write(Line(number, "x" * 50))
            assert writer.dropped > 0
            reader.start()
            wait_for(lambda: complaints)
        os.close(target)
        reader.join(DEADLINE)
    arrived = numbers(bytes(received))
    assert arrived == sorted(set(arrived))
    assert len(arrived) + writer.dropped == total
    assert len(complaints) == 1
    assert "the access log -" in complaints[0]


def test_closing_gives_up_on_a_reader_that_never_reads(
    complaints: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_writer, "CLOSE_PATIENCE", 0.05)
    reading, target = os.pipe()
    writer = LogWriter(target, complain=complaints.append)
    writer.open()
    for number in range(2000):
        writer.write(Line(number, "x" * 100))
    writer.close()  # returns
    os.close(reading)  # the thread ends: nobody can read any more
    wait_for(lambda: "portico-access-log" not in [t.name for t in threading.enumerate()])
    os.close(target)
    assert writer.dropped > 0


def test_a_file_that_cannot_be_opened_is_an_error_at_once(
    tmp_path: Path, complaints: list[str]
) -> None:
    writer = LogWriter(tmp_path / "none" / "access.log", complain=complaints.append)
    with pytest.raises(FileNotFoundError):
        writer.open()


def test_a_pipe_that_nobody_reads_is_refused_rather_than_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="No such device"):
        LogWriter(tmp_path / "pipe", complain=print).open()
