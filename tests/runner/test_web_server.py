"""Servers on ports of a container: how they start, share a machine, fail and end."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from containers import DEADLINE, Machine, Watcher, address, alive, run, until_gone
from exchanges import get, send
from outside import own_network
from portico.runner import listeners
from portico.runner.failures import CannotServe
from portico.runner.kinds import web_server
from portico.sandboxes.network import Networks
from portico.server.live import EPHEMERAL_GRACE
from portico.wire.image import ImageEnvironment
from portico.wire.manifest import MethodSpec, WebSpec

PORT = 8000

# Answers with its process id, its own host, and whatever was posted to it.
SERVER = """
    import portico
    app = portico.App("tests")

    PROGRAM = '''
    import http.server, os, signal, socket, sys, time

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            if self.path == "/slow":
                print("slow begins", flush=True)
                time.sleep(0.5)
            self.answer(f"{os.getpid()} {os.getuid()} {self.headers['host']}".encode())

        def do_POST(self):
            self.answer(self.rfile.read(int(self.headers["content-length"]))[::-1])

        def answer(self, body):
            self.send_response(200)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    def end(*_):
        print("told to end", flush=True)
        os._exit(0)

    signal.signal(signal.SIGTERM, end)
    http.server.ThreadingHTTPServer(("HOST", PORT), Handler).serve_forever()
    '''

    @app.function()
    @portico.web_server(PORT)
    def f():
        import subprocess, sys, textwrap
        subprocess.Popen([sys.executable, "-c", textwrap.dedent(PROGRAM)])
"""


def server(host: str = "0.0.0.0", port: int = PORT) -> str:
    return SERVER.replace("HOST", host).replace("PORT", str(port))


def function(body: str, port: int = PORT, decorator: str = "") -> str:
    lines = "\n".join(f"        {line}" for line in body.splitlines())
    options = f"{port}, {decorator}" if decorator else str(port)
    return (
        "    import portico\n"
        '    app = portico.App("tests")\n\n'
        "    @app.function()\n"
        f"    @portico.web_server({options})\n"
        f"    def f():\n{lines}\n"
    )


def web(startup_timeout: float = 2 * DEADLINE, port: int = PORT) -> dict[str, object]:
    return {"port": port, "startup_timeout": startup_timeout}


@contextlib.contextmanager
def taken(port: int) -> Iterator[None]:
    """A port of the machine that somebody else listens on; by others already is as good."""
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with contextlib.suppress(OSError):
            other.bind(("0.0.0.0", port))
            other.listen()
        yield


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def failure(machine: Machine, image: ImageEnvironment, code: str, **options: object) -> str:
    """Why the container did not start."""
    _, watcher = machine.start(image, code, kind="web_server", **options)
    exit = await watcher.until_exit()
    assert exit.failure is not None, exit
    return f"{exit.failure.phase}: {exit.failure.message}"


async def pid_of_server(watcher: Watcher) -> int:
    return int((await get(address(watcher))).body.split()[0])


@own_network
def test_two_containers_listen_on_one_port_that_the_machine_has_taken(
    tmp_path: Path, bare: ImageEnvironment
) -> None:
    async def main() -> None:
        async with Machine(tmp_path) as machine:
            with taken(PORT):
                started = [
                    machine.ready(bare, server(), kind="web_server", web=web()) for _ in range(2)
                ]
                watchers = [watcher for _, watcher in await asyncio.gather(*started)]
            answers = [(await get(address(w))).body.decode().split() for w in watchers]
            assert len({pid for pid, _, _ in answers}) == 2
            assert {uid for _, uid, _ in answers} == {str(os.getuid())}
            assert not address(watchers[0]).reports_end

    run(main())


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_a_server_that_listens_on_loopback_only_is_found(
    tmp_path: Path, bare: ImageEnvironment, host: str
) -> None:
    code = server(host).replace(
        "http.server.Threading", "http.server.ThreadingHTTPServer.address_family = "
        f"socket.{'AF_INET6' if ':' in host else 'AF_INET'}\n    http.server.Threading",
    )  # fmt: skip

    async def main() -> None:
        async with Machine(tmp_path) as machine:
            _, watcher = await machine.ready(bare, code, kind="web_server", web=web())
            assert (await get(address(watcher))).status == 200

    run(main())


def test_large_bodies_pass_both_ways_and_a_client_that_leaves_harms_nobody(
    tmp_path: Path, bare: ImageEnvironment
) -> None:
    async def main() -> None:
        async with Machine(tmp_path) as machine:
            _, watcher = await machine.ready(bare, server(), kind="web_server", web=web())
            body = os.urandom(5_000_000)
            for _ in range(3):
                exchange = await send(address(watcher), method="POST", body=body)
                await asyncio.sleep(0)
                exchange.close()
            exchange = await send(address(watcher), method="POST", body=body)
            assert (await exchange.response()).body == body[::-1]
            exchange.close()

    run(main())


def test_a_port_that_nobody_opens_in_time_is_a_failed_start(
    tmp_path: Path, bare: ImageEnvironment
) -> None:
    async def main() -> None:
        async with Machine(tmp_path) as machine:
            code = function("import subprocess\nsubprocess.Popen(['sleep', '60'])")
            message = await failure(machine, bare, code, web=web(startup_timeout=0.3))
            assert message.startswith(f"port: nothing accepts connections on port {PORT}, 0.3 sec")
            assert "0.0.0.0:8000" in message
            assert "startup_timeout" in message

    run(main())


def test_a_server_that_ends_at_once_is_not_waited_for(
    tmp_path: Path, bare: ImageEnvironment
) -> None:
    async def main() -> None:
        async with Machine(tmp_path) as machine:
            code = function(
                "import subprocess\nsubprocess.Popen('echo oops >&2; false', shell=True)"
            )
            message = await failure(machine, bare, code, web=web(startup_timeout=10 * DEADLINE))
            assert "no process or thread that it started is left" in message
            await machine.logs.until("oops")

    run(main())


@pytest.mark.parametrize(
    "body",
    [
        f"import subprocess, sys\nsubprocess.run([sys.executable, '-m', 'http.server', '{PORT}'])",
        "import asyncio\n"
        "async def serve():\n"
        f"    await (await asyncio.start_server(print, '0.0.0.0', {PORT})).serve_forever()\n"
        "asyncio.run(serve())",
    ],
    ids=["in a process", "in an event loop"],
)
def test_a_function_that_runs_its_server_instead_of_starting_it_is_told(
    tmp_path: Path, bare: ImageEnvironment, body: str
) -> None:
    async def main() -> None:
        async with Machine(tmp_path) as machine:
            message = await failure(machine, bare, function(body), web=web(startup_timeout=0.5))
            assert "f runs its server instead of starting it" in message
            assert "subprocess.Popen" in message

    run(main())


def test_a_function_may_wait_for_its_server_before_it_returns(
    tmp_path: Path, bare: ImageEnvironment
) -> None:
    code = function(
        "import signal, subprocess, sys, time\n"
        "subprocess.Popen([sys.executable, '-m', 'http.server', '8000'])\n"
        "from portico.runner.listeners import accepting_host\n"
        "looks = []\n"
        "look = signal.getsignal(signal.SIGALRM)\n"
        "while not accepting_host(8000):\n"
        "    time.sleep(0.01)\n"
        "signal.signal(signal.SIGALRM, lambda *at: (look(*at), looks.append(at)))\n"
        "while not looks:\n"
        "    time.sleep(0.01)\n"
        "signal.signal(signal.SIGALRM, lambda *at: None)\n"
    )

    async def main() -> None:
        async with Machine(tmp_path) as machine:
            _, watcher = await machine.ready(
                bare, code, kind="web_server", web=web(startup_timeout=1.0)
            )
            assert (await get(address(watcher))).status == 200

    run(main())


def test_a_server_in_a_thread_serves(tmp_path: Path, bare: ImageEnvironment) -> None:
    async def main() -> None:
        async with Machine(tmp_path) as machine:
            code = function(
                "import http.server, threading\n"
                f"web = http.server.HTTPServer(('0.0.0.0', {PORT}), http.server.SimpleHTTPRequestHandler)\n"
                "threading.Thread(target=web.serve_forever, daemon=True).start()"
            )
            _, watcher = await machine.ready(bare, code, kind="web_server", web=web())
            assert (await get(address(watcher))).status == 200

    run(main())


def test_a_container_ends_with_its_server_and_says_so(
    tmp_path: Path, bare: ImageEnvironment
) -> None:
    async def main() -> None:
        async with Machine(tmp_path) as machine:
            _, watcher = await machine.ready(bare, server(), kind="web_server", web=web())
            os.kill(await pid_of_server(watcher), signal.SIGKILL)
            exit = await watcher.until_exit()
            assert exit.status == 1
            await machine.logs.until(f"the server on port {PORT} has ended")
            with pytest.raises(OSError):
                await get(address(watcher))

    run(main())


@pytest.mark.parametrize("tables", [listeners.TABLES, ("/nowhere",)], ids=["table", "by dialling"])
def test_a_server_with_a_full_backlog_is_busy_and_not_dead(
    tables: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listeners, "TABLES", tables)
    with contextlib.ExitStack() as stack:
        busy = stack.enter_context(socket.socket())
        busy.bind(("127.0.0.1", 0))
        port = busy.getsockname()[1]
        assert not listeners.is_listened_on(port)
        busy.listen(0)
        while listeners.accepting_host(port):  # each look takes a place that nobody empties
            pass
        assert listeners.is_listened_on(port)


def test_a_stop_lets_the_server_end_in_order(tmp_path: Path, bare: ImageEnvironment) -> None:
    async def main() -> None:
        async with Machine(tmp_path) as machine:
            container, watcher = await machine.ready(bare, server(), kind="web_server", web=web())
            pid = await pid_of_server(watcher)
            container.stop(DEADLINE)
            assert (await watcher.until_exit()).status == 0
            await machine.logs.until("told to end")
            assert not alive(pid)

    run(main())


def test_exit_hooks_run_in_an_ephemeral_app_whose_server_will_not_end(
    tmp_path: Path, bare: ImageEnvironment
) -> None:
    code = server().replace("os._exit(0)", "print('and does not', flush=True)") + (
        "\n"
        "    @app.cls()\n"
        "    class C:\n"
        "        @portico.exit()\n"
        "        def leave(self):\n"
        "            print('left in order', flush=True)\n\n"
        "        @portico.web_server(8000)\n"
        "        def serve(self):\n"
        "            import subprocess, sys, textwrap\n"
        "            subprocess.Popen([sys.executable, '-c', textwrap.dedent(PROGRAM)])\n"
    )

    async def main() -> None:
        async with Machine(tmp_path) as machine:
            method = MethodSpec(
                name="serve", web=WebSpec(kind="web_server", port=PORT, startup_timeout=DEADLINE)
            )
            spec = machine.spec(bare, code, qualname="C", is_class=True, methods=(method,))
            watcher = Watcher()
            spec = msgspec.structs.replace(spec, ephemeral=True)
            container = machine.engine.start(spec, watcher)
            await watcher.until_ready()
            container.stop(EPHEMERAL_GRACE)
            await watcher.until_exit()
            await machine.logs.until("and does not")
            await machine.logs.until("left in order")

    run(main())


@own_network
def test_nothing_of_the_network_outlives_its_container(
    tmp_path: Path, bare: ImageEnvironment
) -> None:
    async def main() -> None:
        async with Machine(tmp_path) as machine:
            container, watcher = await machine.ready(bare, server(), kind="web_server", web=web())
            assert container.pid is not None
            helpers = children(container.pid)
            assert len(helpers) == 2  # pasta and the server
            for helper in tuple(helpers):
                helpers += children(helper)
            os.kill(container.pid, signal.SIGKILL)
            assert (await watcher.until_exit()).status == -signal.SIGKILL
            await until_gone(*helpers)

    run(main())


@own_network
def test_a_container_that_has_lost_its_way_out_ends_and_says_so(
    tmp_path: Path, bare: ImageEnvironment
) -> None:
    async def main() -> None:
        async with Machine(tmp_path) as machine:
            container, watcher = await machine.ready(bare, server(), kind="web_server", web=web())
            assert container.pid is not None
            for child in children(container.pid):
                if b"--config-net" in Path(f"/proc/{child}/cmdline").read_bytes():
                    os.kill(child, signal.SIGKILL)
            assert (await watcher.until_exit()).status == 1
            await machine.logs.until("the container's network has ended")
            await machine.logs.until("told to end")

    run(main())


def children(pid: int) -> list[int]:
    return [int(c) for c in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def shared_network() -> Networks:
    """A machine without pasta."""
    return Networks(find=lambda program: None)


def test_on_a_shared_network_a_taken_port_is_told_with_what_to_do(
    tmp_path: Path, bare: ImageEnvironment, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = free_port()

    async def main() -> None:
        async with Machine(tmp_path, networks=shared_network()) as machine:
            code = "    from portico.runner.kinds import web_server\n" + function("pass", port)
            code = code.replace(
                "import web_server\n", "import web_server\n    web_server.TAKEN_PATIENCE = 0.1\n"
            )
            with taken(port):
                message = await failure(machine, bare, code, web=web(port=port))
            assert f"port {port} is taken on this machine" in message
            assert "apt install passt" in message

    run(main())


STRANGER = """
import socket, sys
with socket.socket(socket.AF_INET6) as stranger:
    stranger.bind(("::1", int(sys.argv[1])))
    stranger.listen()
    print("up", flush=True)
    sys.stdin.read()
"""


@contextlib.contextmanager
def stranger(port: int) -> Iterator[subprocess.Popen[bytes]]:
    """A process that is none of the container's and listens on the port at another address."""
    with subprocess.Popen(
        [sys.executable, "-c", STRANGER, str(port)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"up\n"
        yield process
        process.communicate()  # it ends in order when its input does
        assert process.returncode == 0


def test_on_a_shared_network_a_port_is_taken_at_any_address(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(web_server, "TAKEN_PATIENCE", 0.05)
    port = free_port()
    web_server.await_free_port(port, "no reason")
    with stranger(port), pytest.raises(CannotServe, match=f"port {port} is taken"):
        web_server.await_free_port(port, "no reason")


def test_on_a_shared_network_a_stranger_on_the_port_is_not_told_to_end(
    tmp_path: Path, bare: ImageEnvironment
) -> None:
    port = free_port()
    code = (
        "    from portico.runner.kinds import web_server\n"
        "    web_server.await_free_port = lambda *_: None  # as if the stranger had come later\n"
        f"{server(port=port)}"
    )

    async def main() -> None:
        async with Machine(tmp_path, networks=shared_network()) as machine:
            with stranger(port):
                container, watcher = await machine.ready(
                    bare, code, kind="web_server", web=web(port=port)
                )
                container.stop(DEADLINE)
                await watcher.until_exit()

    run(main())


def test_on_a_shared_network_a_container_waits_for_the_port_of_the_one_before(
    tmp_path: Path, bare: ImageEnvironment
) -> None:
    port = free_port()

    async def main() -> None:
        async with Machine(tmp_path, networks=shared_network()) as machine:
            options = {"kind": "web_server", "web": web(port=port)}
            first, watcher = await machine.ready(bare, server(port=port), **options)
            before = await pid_of_server(watcher)
            _, second = machine.start(bare, server(port=port), **options)
            first.stop(DEADLINE)
            await watcher.until_exit()
            await second.until_ready()
            assert await pid_of_server(second) != before
            assert await machine.sandbox.shares_network()

    run(main())
