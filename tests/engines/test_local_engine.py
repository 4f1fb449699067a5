from __future__ import annotations

import asyncio
from pathlib import Path

from containers import Machine, alive, run
from portico.wire.image import ImageEnvironment

HEAD = """
    import portico
    app = portico.App("tests")

    @app.function()
    def f():
        return None
"""


def test_a_start_that_takes_too_long_is_killed_and_said(
    tmp_path: Path, bare: ImageEnvironment
) -> None:
    code = """
        import time
        print("started")
        time.sleep(600)
    """

    async def main() -> None:
        async with Machine(tmp_path) as machine:
            await machine.ready(
                bare, HEAD, kind=None
            )  # the zygote's boot is not what this is about
            _, watcher = machine.start(bare, code, kind=None, startup_timeout=0.5)
            exit = await watcher.until_exit()
            assert exit.failure is not None
            assert exit.failure.phase == "boot"
            assert "startup_timeout" in exit.failure.message
            assert watcher.ready_message is None

    run(main())


def test_a_container_that_ends_by_itself_is_reported_once_and_last(
    tmp_path: Path, bare: ImageEnvironment
) -> None:
    code = (
        HEAD
        + """
    import os, threading
    threading.Timer(0.05, os._exit, [7]).start()
    """
    )

    async def main() -> None:
        async with Machine(tmp_path) as machine:
            _, watcher = await machine.ready(bare, code, kind=None)
            exit = await watcher.until_exit()
            assert (exit.status, exit.failure) == (7, None)
        assert watcher.after_exit == []

    run(main())


def test_closing_ends_containers_in_every_state(tmp_path: Path, bare: ImageEnvironment) -> None:
    async def main() -> None:
        machine = Machine(tmp_path)
        ready, first = await machine.ready(bare, HEAD, kind=None)
        pid = ready.pid
        _, second = machine.start(bare, HEAD, kind=None)
        await machine.engine.close()
        assert first.exit is not None
        assert second.exit is not None
        assert pid is not None
        assert not alive(pid)
        _, third = machine.start(bare, HEAD, kind=None)
        exit = await third.until_exit()
        assert exit.failure is not None
        assert "shutting down" in exit.failure.message

    run(main())


def test_warming_boots_the_zygote_before_it_is_needed(
    tmp_path: Path, bare: ImageEnvironment
) -> None:
    async def main() -> None:
        async with Machine(tmp_path) as machine:
            machine.engine.warm(machine.spec(bare, HEAD, kind=None).environment)
            async with asyncio.timeout(20):
                while not list((tmp_path / "run" / "owners").glob("*/zygote-*")):
                    await asyncio.sleep(0.005)
            await machine.ready(bare, HEAD, kind=None)
            assert len(list((tmp_path / "run" / "owners").glob("*/zygote-*"))) == 1

    run(main())
