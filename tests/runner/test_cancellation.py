from __future__ import annotations

import asyncio
from pathlib import Path

from containers import Machine, address, run
from exchanges import get, send
from portico.wire.image import ImageEnvironment

APP = """
    import asyncio, pathlib, time, portico
    app = portico.App("tests")

    @app.function()
    @portico.asgi_app()
    def f():
        from fastapi import FastAPI, Request
        web = FastAPI()

        @web.get("/forever")
        async def forever():
            print("running")
            try:
                await asyncio.sleep(600)
            except asyncio.CancelledError:
                print("cancelled")
                raise

        @web.get("/thread")
        def thread():
            print("running")
            while not pathlib.Path("go").exists():
                time.sleep(0.005)
            print("thread done")

        @web.get("/polite")
        async def polite(request: Request):
            print("running")
            while not await request.is_disconnected():
                await asyncio.sleep(0.001)
            print("left by itself")

        @web.get("/own")
        async def own():
            raise asyncio.CancelledError

        @web.get("/")
        async def hello():
            print("hello ran")

        return web
"""


def folder_of(machine: Machine) -> Path:
    (folder,) = (p for p in (machine.folder / "run").iterdir() if p.name.startswith("ta-"))
    return folder


def test_a_cancelled_input_is_interrupted_and_ends_quietly(
    tmp_path: Path, fastapi: ImageEnvironment
) -> None:
    async def main() -> None:
        async with Machine(tmp_path) as machine:
            container, watcher = await machine.ready(fastapi, APP, kind="asgi_app", max_inputs=9)
            exchange = await send(address(watcher), "/forever", number=5)
            await machine.logs.until("running")
            exchange.close()
            container.cancel([5])
            await watcher.until_ended(5)
            await machine.logs.until("cancelled")
            assert machine.logs.text("stderr") == ""
            assert (await get(address(watcher), number=6)).status == 200

    run(main())


def test_a_probe_reports_what_does_not_run_and_cancels_nothing(
    tmp_path: Path, fastapi: ImageEnvironment
) -> None:
    async def main() -> None:
        async with Machine(tmp_path) as machine:
            container, watcher = await machine.ready(fastapi, APP, kind="asgi_app", max_inputs=9)
            exchange = await send(address(watcher), "/thread", number=5)
            await machine.logs.until("running")
            container.probe([5, 6])
            await watcher.until_ended(6)
            assert watcher.ended_inputs == [6]
            assert (await get(address(watcher), number=6)).status == 200
            (folder_of(machine) / "go").touch()
            assert (await exchange.response()).status == 200
            exchange.close()

    run(main())


def test_an_input_cancelled_before_it_arrives_never_runs(
    tmp_path: Path, fastapi: ImageEnvironment
) -> None:
    async def main() -> None:
        async with Machine(tmp_path) as machine:
            container, watcher = await machine.ready(fastapi, APP, kind="asgi_app", max_inputs=9)
            container.cancel([7])
            await watcher.until_ended(7)
            assert (await get(address(watcher), number=7)).status == 503
            response = await get(address(watcher), number=8)
            assert (response.status, response.ended) == (200, True)
            await machine.logs.until("hello ran")
            assert machine.logs.text("stdout").count("hello ran") == 1
            assert watcher.ended_inputs == [7]

    run(main())


def test_a_synchronous_handler_that_runs_on_has_not_ended(
    tmp_path: Path, fastapi: ImageEnvironment
) -> None:
    async def main() -> None:
        async with Machine(tmp_path) as machine:
            container, watcher = await machine.ready(fastapi, APP, kind="asgi_app", max_inputs=9)
            exchange = await send(address(watcher), "/thread", number=5)
            await machine.logs.until("running")
            exchange.close()
            container.cancel([5])
            # A second one, cancelled after it, has gone through the same delay when it has ended.
            second = await send(address(watcher), "/forever", number=6)
            container.cancel([6])
            await watcher.until_ended(6)
            second.close()
            assert watcher.ended_inputs == [6]
            (folder_of(machine) / "go").touch()
            await watcher.until_ended(5)
            assert "thread done" in machine.logs.text() or await machine.logs.until("thread done")

    run(main())


def test_a_handler_that_notices_the_disconnect_ends_by_itself(
    tmp_path: Path, fastapi: ImageEnvironment
) -> None:
    async def main() -> None:
        async with Machine(tmp_path) as machine:
            _, watcher = await machine.ready(fastapi, APP, kind="asgi_app", max_inputs=9)
            exchange = await send(address(watcher), "/polite", number=5)
            await machine.logs.until("running")
            exchange.close()
            await watcher.until_ended(5)
            await machine.logs.until("left by itself")

    run(main())


def test_a_cancellation_of_the_users_own_is_an_error_of_theirs(
    tmp_path: Path, fastapi: ImageEnvironment
) -> None:
    async def main() -> None:
        async with Machine(tmp_path) as machine:
            _, watcher = await machine.ready(fastapi, APP, kind="asgi_app", max_inputs=9)
            assert (await get(address(watcher), "/own", number=5)).status == 500
            await watcher.until_ended(5)

    run(main())


def test_what_loops_run_on_threads_holds_the_slot_and_has_one_thread_a_slot(
    tmp_path: Path, bare: ImageEnvironment
) -> None:
    code = """
        import asyncio, pathlib, threading, time, portico
        app = portico.App("tests")
        meeting = threading.Barrier(60)

        def work(path):
            if path == "/meet":
                meeting.wait(20)
                return
            print("running")
            while not pathlib.Path("go").exists():
                time.sleep(0.005)

        async def raw(scope, receive, send):
            assert scope["type"] == "http"
            await asyncio.to_thread(work, scope["path"])
            await send({"type": "http.response.start", "status": 204, "headers": []})
            await send({"type": "http.response.body", "body": b""})

        @app.function()
        @portico.asgi_app()
        def f():
            return raw
    """

    async def main() -> None:
        async with Machine(tmp_path) as machine:
            container, watcher = await machine.ready(bare, code, kind="asgi_app", max_inputs=60)
            meeting = (get(address(watcher), "/meet", number=n) for n in range(100, 160))
            assert {answer.status for answer in await asyncio.gather(*meeting)} == {204}
            exchange = await send(address(watcher), number=5)
            await machine.logs.until("running")
            exchange.close()
            container.cancel([5])
            # What takes the grace a cancelled input has several times over is surely past it.
            for number in range(200, 210):
                container.probe([number])
                await watcher.until_ended(number)
                await asyncio.sleep(0.02)
            assert 5 not in watcher.ended_inputs
            (folder_of(machine) / "go").touch()
            await watcher.until_ended(5)

    run(main())
