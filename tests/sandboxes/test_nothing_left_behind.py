"""Servers, zygotes and containers die; the processes of user code die with them."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from containers import DEADLINE, Machine, alive, run, until_gone
from portico.sandboxes.ledger import end_leftovers
from portico.sandboxes.strays import start_time
from portico.wire.image import ImageEnvironment

pytestmark = pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks processes up in /proc")

# A shell child, a child without its environment and folder, a daemon that has left the session, and one
# that has lost its environment, too.
BREEDER = """
    import os, pathlib, subprocess, portico
    app = portico.App("tests")

    def daemon(exec_clean):
        reader, writer = os.pipe()
        if os.fork() == 0:
            os.setsid()
            if os.fork():
                os._exit(0)
            os.write(writer, str(os.getpid()).encode())
            os.close(writer)
            if exec_clean:
                os.execve("/bin/sleep", ["sleep", "600"], {})
            import time
            time.sleep(600)
        return int(os.read(reader, 20))

    clean = subprocess.Popen(["sleep", "600"], env={}, cwd="/")
    shell = subprocess.Popen("sleep 600 & wait", shell=True)
    pids = [os.getpid(), clean.pid, shell.pid, daemon(False), daemon(True)]
    print("pids", *pids)

    @app.function()
    def f():
        return None
"""


async def bred(machine: Machine, image: ImageEnvironment, **options: object) -> list[int]:
    await machine.ready(image, BREEDER, kind=None, **options)  # type: ignore[arg-type]
    line = await machine.logs.until("pids ")
    return [int(pid) for pid in line.text.split()[1:]]


def test_what_a_container_has_started_ends_with_it(tmp_path: Path, bare: ImageEnvironment) -> None:
    async def main() -> None:
        async with Machine(tmp_path) as machine:
            container, watcher = await machine.ready(bare, BREEDER, kind=None)
            line = await machine.logs.until("pids ")
            pids = [int(pid) for pid in line.text.split()[1:]]
            assert all(alive(pid) for pid in pids)
            container.stop(20)
            await watcher.until_exit()
            assert [pid for pid in pids if alive(pid)] == []

    run(main())


def test_a_killed_container_takes_its_processes_along_and_leaves_others_alone(
    tmp_path: Path, bare: ImageEnvironment
) -> None:
    async def main() -> None:
        async with Machine(tmp_path) as machine:
            other, _ = await machine.ready(bare, BREEDER, kind=None)
            machine.logs.lines.clear()
            _, watcher = await machine.ready(bare, BREEDER, kind=None)
            line = await machine.logs.until("pids ")
            pids = [int(pid) for pid in line.text.split()[1:]]
            os.kill(pids[0], signal.SIGKILL)
            assert (await watcher.until_exit()).status == -9
            assert [pid for pid in pids if alive(pid)] == []
            assert other.pid is not None
            assert alive(other.pid)

    run(main())


def test_a_killed_zygote_takes_its_containers_along_and_the_next_start_works(
    tmp_path: Path, bare: ImageEnvironment
) -> None:
    async def main() -> None:
        async with Machine(tmp_path) as machine:
            container, watcher = await machine.ready(bare, BREEDER, kind=None)
            line = await machine.logs.until("pids ")
            pids = [int(pid) for pid in line.text.split()[1:]]
            stat = Path(f"/proc/{container.pid}/stat").read_text().rpartition(")")[2].split()
            os.kill(int(stat[1]), signal.SIGKILL)
            exit = await watcher.until_exit()
            assert exit.status == -9
            assert [pid for pid in pids if alive(pid)] == []
            await machine.ready(bare, BREEDER, kind=None)

    run(main())


SERVER = """
import asyncio, json, sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
import msgspec
from containers import Machine, Watcher
from portico.wire.container import ContainerSpec

async def main():
    machine = Machine(Path(sys.argv[2]))
    spec = msgspec.json.decode(sys.stdin.buffer.read(), type=ContainerSpec)
    watcher = Watcher()
    container = machine.engine.start(spec, watcher)
    await watcher.until_ready()
    line = await machine.logs.until("pids ")
    print(line.text, flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


def server_with_container(
    tmp_path: Path, image: ImageEnvironment
) -> tuple[subprocess.Popen[bytes], list[int], int]:
    """A server in a process of its own; its container's pids, and the zygote's."""

    async def spec() -> bytes:
        async with Machine(tmp_path / "specs") as machine:
            return msgspec.json.encode(machine.spec(image, BREEDER, kind=None))

    tests = str(Path(__file__).parent.parent)
    server = subprocess.Popen(
        [sys.executable, "-c", SERVER, tests, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert server.stdin is not None
    assert server.stdout is not None
    server.stdin.write(run(spec()))
    server.stdin.close()
    pids = [int(pid) for pid in server.stdout.readline().split()[1:]]
    assert all(alive(pid) for pid in pids)
    zygote = int(Path(f"/proc/{pids[0]}/stat").read_text().rpartition(")")[2].split()[1])
    return server, pids, zygote


def test_nothing_survives_the_sigkill_of_a_server(tmp_path: Path, bare: ImageEnvironment) -> None:
    server, pids, zygote = server_with_container(tmp_path, bare)
    server.kill()
    server.wait()
    run(until_gone(zygote, *pids))


def test_the_next_server_ends_and_removes_what_is_left_of_a_former_one(
    tmp_path: Path, bare: ImageEnvironment
) -> None:
    server, pids, zygote = server_with_container(tmp_path, bare)
    os.kill(zygote, signal.SIGSTOP)  # so that it cannot clean up
    try:
        server.kill()
        server.wait()
        assert all(alive(pid) for pid in (zygote, *pids[3:]))  # the daemons are out of its group
        assert list((tmp_path / "run").glob("ta-*"))
        end_leftovers(tmp_path / "run")
        assert [pid for pid in (*pids, zygote) if alive(pid)] == []
        assert list((tmp_path / "run").glob("ta-*")) == []
        assert list((tmp_path / "run" / "owners").iterdir()) == []
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(zygote, signal.SIGCONT)


def test_a_reused_process_id_is_left_alone(tmp_path: Path) -> None:
    bystander = subprocess.Popen(["sleep", "600"], start_new_session=True)
    try:
        owner = tmp_path / "run" / "owners" / "1.dead"
        owner.mkdir(parents=True)
        (owner / "owner").write_text("1 never")
        (owner / "zygote-0123").write_text(f"{bystander.pid} another time")
        (owner / "ta-x").write_text(f"{bystander.pid} another time")
        end_leftovers(tmp_path / "run")
        assert alive(bystander.pid)
        assert not owner.exists()
    finally:
        bystander.kill()
        bystander.wait()


def test_a_live_owner_keeps_its_containers(tmp_path: Path, bare: ImageEnvironment) -> None:
    async def main() -> None:
        async with Machine(tmp_path) as machine:
            pids = await bred(machine, bare)
            async with Machine(tmp_path):
                assert all(alive(pid) for pid in pids)

    run(main())


def test_start_times_tell_processes_apart() -> None:
    child = subprocess.Popen(["sleep", "600"])
    started = start_time(child.pid)
    assert started is not None
    assert started != start_time(os.getpid())
    assert started == start_time(child.pid)
    child.kill()
    child.wait()
    assert start_time(child.pid) is None


def test_a_container_that_writes_nonsense_to_its_control_socket_is_ended(
    tmp_path: Path, bare: ImageEnvironment
) -> None:
    code = """
        import os, portico, socket, stat
        app = portico.App("tests")
        for name in os.listdir("/proc/self/fd"):
            try:
                mode = os.fstat(int(name)).st_mode
            except OSError:
                continue
            if stat.S_ISSOCK(mode):
                try:
                    os.write(int(name), b"\\xff" * 64)
                except OSError:
                    pass

        @app.function()
        def f():
            return None
    """

    async def main() -> None:
        async with Machine(tmp_path) as machine:
            _, watcher = machine.start(bare, code, kind=None, startup_timeout=DEADLINE)
            exit = await watcher.until_exit()
            assert exit.status is not None

    run(main())
