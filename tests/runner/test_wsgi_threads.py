"""A ``wsgi_app``'s threads: as many as slots, each with one input, which ends when its thread is done with it."""

from __future__ import annotations

import asyncio
from pathlib import Path

from containers import Machine, address, run
from exchanges import get, send
from portico.wire.image import ImageEnvironment
from runner.wsgi_apps import folder_of, serving

HANDLERS = """
    import contextvars
    mark = contextvars.ContextVar("mark", default="none")
    barrier = threading.Barrier(5, timeout=20)
    local = threading.local()

    def together(environ, start):
        before, after = mark.get(), environ["QUERY_STRING"]
        mark.set(after)
        barrier.wait()
        start("200 OK", TEXT)
        return [f"{before} {mark.get()} {portico.current_input_id()}".encode()]

    def thread(environ, start):
        local.count = getattr(local, "count", 0) + 1
        start("200 OK", TEXT)
        return [f"{threading.current_thread().name} {local.count} {mark.get()}".encode()]

    def stuck(environ, start):
        print("running")
        wait_for("go")
        print("thread done")
        start("200 OK", TEXT)
        return [b"done"]

    def hello(environ, start):
        print("hello ran")
        start("200 OK", TEXT)
        return [b"hello"]

    def read(environ, start):
        print("running")
        try:
            environ["wsgi.input"].read()
        except OSError as error:
            print("reading failed:", error)
            raise

    def endless(environ, start):
        start("200 OK", TEXT)
        try:
            while True:
                yield b"x" * 65536
        finally:
            print("generator closed")

    def writes(environ, start):
        write = start("200 OK", TEXT)
        try:
            while True:
                write(b"x" * 65536)
        except OSError as error:
            print("writing failed:", error)
        return []
"""


def test_as_many_inputs_run_at_once_as_there_are_slots_each_in_a_context_of_its_own(
    tmp_path: Path, bare: ImageEnvironment
) -> None:
    async def main() -> None:
        async with Machine(tmp_path) as machine:
            _, watcher = await serving(machine, bare, HANDLERS, max_inputs=5)
            for turn in (0, 5):  # the second one on threads that have a first one behind them
                numbers = range(turn + 1, turn + 6)
                answers = await asyncio.gather(
                    *(get(address(watcher), f"/together?q{n}", number=n) for n in numbers)
                )
                assert [a.body.decode() for a in answers] == [f"none q{n} in-{n}" for n in numbers]

    run(main())


def test_one_slot_has_one_thread_for_all_its_inputs(tmp_path: Path, bare: ImageEnvironment) -> None:
    async def main() -> None:
        async with Machine(tmp_path) as machine:
            _, watcher = await serving(machine, bare, HANDLERS, max_inputs=1)
            answers = [await get(address(watcher), "/thread", number=n) for n in range(1, 4)]
            expected = [f"portico-wsgi-1 {n} none" for n in range(1, 4)]
            assert [a.body.decode() for a in answers] == expected

    run(main())


def test_an_input_cancelled_before_it_arrives_never_runs(
    tmp_path: Path, bare: ImageEnvironment
) -> None:
    async def main() -> None:
        async with Machine(tmp_path) as machine:
            container, watcher = await serving(machine, bare, HANDLERS)
            container.cancel([7])
            await watcher.until_ended(7)
            assert (await get(address(watcher), "/hello", number=7)).status == 503
            response = await get(address(watcher), "/hello", number=8)
            assert (response.status, response.ended) == (200, True)
            await machine.logs.until("hello ran")
            assert machine.logs.text("stdout").count("hello ran") == 1
            assert watcher.ended_inputs == [7]

    run(main())


def test_an_input_cancelled_before_a_thread_is_free_never_runs(
    tmp_path: Path, bare: ImageEnvironment
) -> None:
    async def main() -> None:
        async with Machine(tmp_path) as machine:
            container, watcher = await serving(machine, bare, HANDLERS, max_inputs=1)
            first = await send(address(watcher), "/stuck", number=1)
            await machine.logs.until("running")
            second = await send(address(watcher), "/hello", number=2)
            while True:  # until a probe finds it running, for all that it has no thread
                container.probe([2, 99])
                await watcher.until_ended(99)
                if watcher.ended_inputs == [99]:
                    break
                watcher.ended_inputs.clear()
            container.cancel([2])
            (folder_of(machine) / "go").touch()
            assert (await first.response()).body == b"done"
            await watcher.until_ended(2)
            assert await second.reader.read() == b""
            assert "hello ran" not in machine.logs.text()
            first.close()
            second.close()

    run(main())


def test_a_cancelled_input_whose_thread_runs_on_has_not_ended(
    tmp_path: Path, bare: ImageEnvironment
) -> None:
    async def main() -> None:
        async with Machine(tmp_path) as machine:
            container, watcher = await serving(machine, bare, HANDLERS)
            exchange = await send(address(watcher), "/stuck", number=5)
            await machine.logs.until("running")
            exchange.close()
            container.cancel([5])
            container.cancel([99])
            await watcher.until_ended(99)
            assert watcher.ended_inputs == [99]
            (folder_of(machine) / "go").touch()
            await watcher.until_ended(5)
            await machine.logs.until("thread done")
            assert machine.logs.text("stderr") == ""

    run(main())


def test_an_app_notices_that_its_client_is_gone_when_it_reads_or_writes(
    tmp_path: Path, bare: ImageEnvironment
) -> None:
    async def main() -> None:
        async with Machine(tmp_path) as machine:
            _, watcher = await serving(machine, bare, HANDLERS)
            exchange = await send(
                address(watcher), "/read", number=1, method="POST", headers=("content-length: 9",)
            )
            exchange.writer.write(b"half")
            await machine.logs.until("running")
            exchange.close()
            await machine.logs.until("reading failed: the client is gone")
            for number, path, said in (
                (2, "/endless", "generator closed"),
                (3, "/writes", "writing failed: the client is gone"),
            ):
                exchange = await send(address(watcher), path, number=number)
                await exchange.reader.readexactly(200_000)
                exchange.close()
                await machine.logs.until(said)
            await watcher.until_ended(1, 2, 3)
            assert machine.logs.text("stderr") == ""
            assert (await get(address(watcher), "/hello", number=4)).ended

    run(main())


def test_sigterm_closes_what_is_idle_and_lets_what_runs_end(
    tmp_path: Path, bare: ImageEnvironment
) -> None:
    async def main() -> None:
        async with Machine(tmp_path) as machine:
            container, watcher = await serving(machine, bare, HANDLERS)
            idle = await send(address(watcher), "/hello", number=1)
            assert (await idle.response()).status == 200
            running = await send(address(watcher), "/stuck", number=2)
            await machine.logs.until("running")
            container.stop(20)
            assert await idle.reader.read() == b""
            assert watcher.exit is None
            (folder_of(machine) / "go").touch()
            response = await running.response()
            assert (response.body, response.header("connection")) == (b"done", "close")
            exit = await watcher.until_exit()
            assert exit.status == 0, machine.logs.text()
            idle.close()
            running.close()

    run(main())


def test_a_thread_that_never_ends_does_not_outlive_the_grace_of_a_stop(
    tmp_path: Path, bare: ImageEnvironment
) -> None:
    async def main() -> None:
        async with Machine(tmp_path) as machine:
            container, watcher = await serving(machine, bare, HANDLERS)
            exchange = await send(address(watcher), "/stuck", number=1)
            await machine.logs.until("running")
            container.stop(0.2)
            assert (await watcher.until_exit()).status == -9
            exchange.close()

    run(main())


def test_the_users_default_timeout_for_sockets_is_not_that_of_connections(
    tmp_path: Path, bare: ImageEnvironment
) -> None:
    handlers = """
        import socket
        socket.setdefaulttimeout(0.05)

        def slow(environ, start):
            start("200 OK", TEXT)
            return [environ["wsgi.input"].read()]
    """

    async def main() -> None:
        async with Machine(tmp_path) as machine:
            _, watcher = await serving(machine, bare, handlers)
            exchange = await send(
                address(watcher), "/slow", method="POST", headers=("content-length: 2",)
            )
            exchange.writer.write(b"a")
            await asyncio.sleep(0.2)  # longer than that timeout
            exchange.writer.write(b"b")
            assert (await exchange.response()).body == b"ab"
            exchange.close()

    run(main())


def test_the_app_of_a_class_is_built_once_and_its_instance_is_there(
    tmp_path: Path, bare: ImageEnvironment
) -> None:
    code = """
        import portico
        app = portico.App("tests")

        @app.cls()
        class C:
            @portico.enter()
            def enter(self):
                self.seen = ["enter"]

            @portico.wsgi_app()
            def web(self):
                self.seen.append("built")

                def handle(environ, start):
                    self.seen.append("request")
                    start("200 OK", [])
                    return [" ".join(self.seen).encode()]

                return handle

            @portico.exit()
            def exit(self):
                print(len(self.seen), "then exit")
    """
    from portico.wire.manifest import MethodSpec, WebSpec

    async def main() -> None:
        async with Machine(tmp_path) as machine:
            container, watcher = await machine.ready(
                bare,
                code,
                qualname="C",
                is_class=True,
                methods=(MethodSpec(name="web", web=WebSpec(kind="wsgi_app")),),
            )
            assert (await get(address(watcher, "web"))).body == b"enter built request"
            assert (await get(address(watcher, "web"))).body == b"enter built request request"
            container.stop(20)
            assert (await watcher.until_exit()).status == 0
            assert "4 then exit" in machine.logs.text()

    run(main())


def test_an_input_waits_for_a_thread_where_the_system_gives_no_further_one(
    tmp_path: Path, bare: ImageEnvironment
) -> None:
    handlers = """
        def exhaust(environ, start):
            def refuse(self):
                raise RuntimeError("can't start new thread")

            threading.Thread.start = refuse
            return hello(environ, start)
    """

    async def main() -> None:
        async with Machine(tmp_path) as machine:
            _, watcher = await serving(machine, bare, HANDLERS, handlers)
            assert (await get(address(watcher), "/exhaust", number=1)).status == 200
            first = await send(address(watcher), "/stuck", number=2)
            await machine.logs.until("running")
            second = await send(address(watcher), "/hello", number=3)
            (folder_of(machine) / "go").touch()
            assert (await first.response()).body == b"done"
            response = await second.response()
            assert (response.body, response.ended) == (b"hello", True)
            first.close()
            second.close()

    run(main())


def test_an_input_that_gets_no_descriptor_is_refused_and_ends(
    tmp_path: Path, bare: ImageEnvironment
) -> None:
    handlers = """
        import os

        def fill(environ, start):
            soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
            most = max(map(int, os.listdir("/dev/fd"))) + 8
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
            global kept
            kept = []
            try:
                while True:
                    kept.append(os.dup(0))
            except OSError:
                return hello(environ, start)
    """
    upgrade = (
        b"GET /hello HTTP/1.1\r\nx-portico-input: 2\r\nx-forwarded-for: 192.0.2.1\r\n"
        b"x-forwarded-proto: http\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n"
    )

    async def main() -> None:
        async with Machine(tmp_path) as machine:
            _, watcher = await serving(machine, bare, HANDLERS, handlers)
            exchange = await send(address(watcher), "/fill", number=1)
            assert (await exchange.response()).status == 200
            exchange.writer.write(upgrade)  # needs a descriptor more, for the app
            assert (await exchange.response()).status == 503
            await watcher.until_ended(2)
            await machine.logs.until("Too many open files")
            exchange.close()

    run(main())
