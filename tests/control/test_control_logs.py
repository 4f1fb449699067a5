from __future__ import annotations

import asyncio
import time
from pathlib import Path

import msgspec
from control_server import Server, eventually, line, manifest, running

from portico.control.log_files import LogFiles
from portico.control.logs import Follower, Logs
from portico.wire.container import LogLine


def texts(lines: list[LogLine]) -> list[str]:
    return [one.text for one in lines]


def test_the_tail_has_lines_not_yet_written(tmp_path: Path) -> None:
    async def main() -> None:
        logs = Logs(LogFiles(tmp_path))
        for n in range(10):
            logs.append(line("ap-1", str(n), f"ta-{n % 2}", time=float(n)))
        logs.append(line("ap-2", "other"))
        assert texts(await logs.tail("ap-1", 3)) == ["7", "8", "9"]
        assert texts(await logs.tail("ap-1", 100, since=8.0)) == ["8", "9"]
        assert texts(await logs.tail("ap-1", 2, container_id="ta-0")) == ["6", "8"]
        assert texts(await logs.tail("ap-1", 0)) == []
        assert texts(await logs.tail("ap-none", 3)) == []
        assert logs.app_of("ta-0") == "ap-1"
        await logs.close()

    asyncio.run(main())


def test_history_survives_and_a_cut_line_is_skipped(tmp_path: Path) -> None:
    async def write(text: str) -> None:
        logs = Logs(LogFiles(tmp_path))
        logs.append(line("ap-1", text))
        await logs.close()

    asyncio.run(write("before"))
    (segment,) = (tmp_path / "ap-1").iterdir()
    with segment.open("ab") as file:
        file.write(b'{"time": 1.0, "app_')
    asyncio.run(write("after"))
    assert texts(LogFiles(tmp_path).tail("ap-1", 10)) == ["before", "after"]


def test_history_is_bounded(tmp_path: Path) -> None:
    files = LogFiles(tmp_path, segment_bytes=1_000, segments=3)
    for n in range(200):
        files.write("ap-1", [line("ap-1", f"line {n}")])
    segments = list((tmp_path / "ap-1").iterdir())
    assert len(segments) == 3
    assert sum(segment.stat().st_size for segment in segments) <= 3_000
    assert texts(files.tail("ap-1", 1)) == ["line 199"]


def test_old_histories_are_removed_but_those_kept(tmp_path: Path) -> None:
    files = LogFiles(tmp_path)
    for app in ("ap-1", "ap-2"):
        files.write(app, [line(app, "x")])
    files.remove_unwritten_since(time.time() + 1, {"ap-2"})
    assert [folder.name for folder in tmp_path.iterdir()] == ["ap-2"]
    files.remove_unwritten_since(time.time() - 60, set())
    assert [folder.name for folder in tmp_path.iterdir()] == ["ap-2"]


def test_a_follower_gets_history_and_news_once_each(tmp_path: Path) -> None:
    async def main() -> None:
        logs = Logs(LogFiles(tmp_path))
        seen: list[str] = []

        async def follow() -> None:
            async for one in logs.follow("ap-1", 1000):
                seen.append(one.text)

        for n in range(100):
            logs.append(line("ap-1", str(n)))
        task = asyncio.create_task(follow())
        for n in range(100, 300):
            logs.append(line("ap-1", str(n)))
            if n % 10 == 0:
                await asyncio.sleep(0)
        while len(seen) < 300:
            await asyncio.sleep(0.001)
        logs.end("ap-1")
        await task
        assert seen == [str(n) for n in range(300)]
        await logs.close()

    asyncio.run(asyncio.wait_for(main(), 30))


def test_a_slow_follower_loses_lines_and_is_told_how_many() -> None:
    async def main() -> None:
        follower = Follower(limit=3)
        for n in range(10):
            follower.put(line("ap-1", str(n)))
        got = [await follower.get() for _ in range(4)]
        assert [one.text for one in got if one][:3] == ["0", "1", "2"]
        assert got[3] is not None
        assert got[3].stream == "system"
        assert got[3].text.startswith("7 lines")
        follower.put(line("ap-1", "news"))
        follower.close()
        news = await follower.get()
        assert news is not None
        assert news.text == "news"
        assert await follower.get() is None

    asyncio.run(main())


def test_a_disk_that_fails_does_not_reach_who_logs(tmp_path: Path) -> None:
    async def main() -> None:
        logs = Logs(LogFiles(tmp_path / "file"))
        (tmp_path / "file").write_text("in the way")
        with logs.follower("ap-1") as follower:
            logs.append(line("ap-1", "x"))
            assert await follower.get() == line("ap-1", "x")
        await logs.close()

    asyncio.run(main())


def test_logs_are_read_and_followed_over_http(server: Server) -> None:
    app = server.ship(manifest()).app_id
    for n in range(5):
        server.log(app, str(n), f"ta-{n % 2}")
    eventually(lambda: len(server.http.get("/v1/apps/shop/logs").text.splitlines()) == 5)
    tail = server.http.get("/v1/apps/shop/logs?tail=2&container=ta-0").text.splitlines()
    assert [msgspec.json.decode(one)["text"] for one in tail] == ["2", "4"]
    assert len(server.http.get("/v1/containers/ta-1/logs").text.splitlines()) == 2
    with server.http.stream("GET", "/v1/containers/ta-1/logs?tail=1&follow=1") as response:
        lines = response.iter_lines()
        assert msgspec.json.decode(next(lines))["text"] == "3"
        server.log(app, "not this", "ta-0")
        server.log(app, "this", "ta-1")
        assert msgspec.json.decode(next(lines))["text"] == "this"


def test_a_follower_that_leaves_is_forgotten(server: Server) -> None:
    app = server.ship(manifest()).app_id
    server.log(app, "x")
    with server.http.stream("GET", f"/v1/apps/{app}/logs?follow=1") as response:
        lines = response.iter_lines()
        next(lines)
        assert app in server.control._logs._followers
    eventually(lambda: app not in server.control._logs._followers)


def test_history_over_http_survives_a_restart(tmp_path: Path) -> None:
    with running(tmp_path) as server:
        server.log(server.ship(manifest()).app_id, "kept")
    with running(tmp_path) as server:
        assert "kept" in server.http.get("/v1/apps/shop/logs").text
