from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from containers import Machine, Watcher, address, alive, run, until_gone
from exchanges import get, send
from portico.wire.container import Address
from portico.wire.image import ImageEnvironment

RAW = """
    import asyncio, json, os, pathlib, signal, sys, time, portico
    app = portico.App("tests")

    async def raw(scope, receive, send):
        assert scope["type"] == "http"
        path = scope["path"]
        if path == "/block":
            print("blocking")
            time.sleep(600)
        if path == "/slow":
            print("slow")
            while not pathlib.Path("go").exists():
                await asyncio.sleep(0.005)
        body = json.dumps({"env": dict(os.environ), "cwd": os.getcwd(), "pid": os.getpid(),
                           "files": sorted(os.listdir("."))}).encode()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": body})

    @app.cls()
    class C:
        @portico.asgi_app()
        def f(self):
            return raw

        @portico.exit()
        def goodbye(self):
            print("goodbye")
"""


def options() -> dict[str, object]:
    from portico.wire.manifest import MethodSpec, WebSpec

    methods = (MethodSpec(name="f", web=WebSpec(kind="asgi_app")),)
    return {"qualname": "C", "is_class": True, "methods": methods}


async def until_refused(listener: Address) -> None:
    while True:
        try:
            (await send(listener)).close()
        except OSError:
            return
        await asyncio.sleep(0.005)


def test_a_container_has_a_folder_and_an_environment_of_its_own(
    tmp_path: Path, bare: ImageEnvironment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SERVER_SECRET", "hidden")
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example:3128")

    async def main() -> None:
        async with Machine(tmp_path) as machine:
            env = {"GREETING": "hello", "LANG": "C.UTF-8"}
            container, watcher = await machine.ready(
                bare, RAW, env=env, workdir="/root/w", **options()
            )
            told = json.loads((await get(address(watcher, "f"))).body)
            variables = told["env"]
            assert variables["GREETING"] == "hello"
            assert variables["HTTPS_PROXY"] == "http://proxy.example:3128"
            assert "SERVER_SECRET" not in variables
            assert variables["PATH"].startswith(str(Path(bare.python).parent))
            assert variables["PORTICO_APP_NAME"] == "tests"
            assert told["cwd"] == str(Path(variables["HOME"]) / "w")
            assert told["pid"] == container.pid
            home = Path(variables["HOME"])
            assert (home / "user_app.py").is_symlink()
            container.stop(20)
            await watcher.until_exit()
            assert not home.exists()

    run(main())


def test_stopping_waits_for_running_inputs_and_runs_exit_hooks(
    tmp_path: Path, bare: ImageEnvironment
) -> None:
    async def main() -> None:
        async with Machine(tmp_path) as machine:
            container, watcher = await machine.ready(bare, RAW, **options())
            exchange = await send(address(watcher, "f"), "/slow", number=1)
            await machine.logs.until("slow")
            container.stop(20)
            await until_refused(address(watcher, "f"))
            assert watcher.exit is None
            (folder,) = (p for p in (tmp_path / "run").iterdir() if p.name.startswith("ta-"))
            (folder / "go").touch()
            assert (await exchange.response()).status == 200
            exchange.close()
            exit = await watcher.until_exit()
            assert exit.status == 0
            assert watcher.ended_inputs == [1]
            assert machine.logs.text("stdout").splitlines()[-1] == "goodbye"

    run(main())


def test_a_handler_that_blocks_is_killed_after_the_grace(
    tmp_path: Path, bare: ImageEnvironment
) -> None:
    async def main() -> None:
        async with Machine(tmp_path) as machine:
            container, watcher = await machine.ready(bare, RAW, **options())
            exchange = await send(address(watcher, "f"), "/block", number=1)
            await machine.logs.until("blocking")
            container.stop(0.2)
            exit = await watcher.until_exit()
            assert exit.status == -9
            assert "goodbye" not in machine.logs.text()
            exchange.close()
            container.stop(1)  # and a container that is gone takes requests in silence
            container.cancel([1])

    run(main())


def test_twenty_containers_start_at_once_from_one_zygote(
    tmp_path: Path, bare: ImageEnvironment
) -> None:
    async def main() -> None:
        async with Machine(tmp_path) as machine:
            started = await asyncio.gather(
                *(machine.ready(bare, RAW, **options()) for _ in range(20))
            )
            answers = await asyncio.gather(*(get(address(w, "f")) for _, w in started))
            pids = {json.loads(answer.body)["pid"] for answer in answers}
            assert pids == {container.pid for container, _ in started}
            assert len(pids) == 20
            parents = {
                Path(f"/proc/{p}/stat").read_text().rpartition(")")[2].split()[1] for p in pids
            }
            assert len(parents) == 1
        await until_gone(*pids)
        assert list((tmp_path / "run").glob("ta-*")) == []

    run(main())


def test_a_container_stopped_while_its_zygote_boots_is_never_started(
    tmp_path: Path, bare: ImageEnvironment
) -> None:
    async def main() -> None:
        async with Machine(tmp_path) as machine:
            container, watcher = machine.start(bare, RAW, **options())
            await asyncio.sleep(0)
            container.stop(0)
            exit = await watcher.until_exit()
            assert exit.status is None
            assert container.pid is None

    run(main())


def test_an_idle_zygote_ends_and_another_boots_when_needed(
    tmp_path: Path, bare: ImageEnvironment
) -> None:
    async def main() -> None:
        async with Machine(tmp_path, zygote_idle=0.01) as machine:
            container, watcher = await machine.ready(bare, RAW, **options())
            zygote = int(
                Path(f"/proc/{container.pid}/stat").read_text().rpartition(")")[2].split()[1]
            )
            assert alive(zygote)
            container.stop(20)
            await watcher.until_exit()
            await until_gone(zygote)
            await machine.ready(bare, RAW, **options())

    run(main())


def test_an_interpreter_that_is_gone_is_a_failed_boot(
    tmp_path: Path, bare: ImageEnvironment
) -> None:
    import msgspec

    async def main() -> None:
        async with Machine(tmp_path) as machine:
            nowhere = msgspec.structs.replace(bare, python=str(tmp_path / "nowhere" / "python"))
            _, watcher = machine.start(nowhere, RAW, **options())
            exit = await watcher.until_exit()
            assert exit.failure is not None
            assert (exit.failure.phase, exit.status) == ("boot", None)
            assert "nowhere" in exit.failure.message
            broken = msgspec.structs.replace(bare, runner_path=())
            _, watcher = machine.start(broken, RAW, **options())
            exit = await watcher.until_exit()
            assert exit.failure is not None
            assert "No module named 'portico'" in exit.failure.message

    run(main())


def test_a_source_folder_that_is_gone_is_a_failed_boot(
    tmp_path: Path, bare: ImageEnvironment
) -> None:
    import msgspec

    async def main() -> None:
        async with Machine(tmp_path) as machine:
            spec = machine.spec(bare, RAW, **options())
            spec = msgspec.structs.replace(spec, source_root=str(tmp_path / "gone"))
            watcher = Watcher()
            machine.engine.start(spec, watcher)
            exit = await watcher.until_exit()
            assert exit.failure is not None
            assert exit.failure.phase == "boot"
            assert list((tmp_path / "run").glob("ta-*")) == []

    run(main())
