"""WebSockets while versions come and go, while the server ends, and a thousand at once."""

from __future__ import annotations

import contextlib
import os
import re
import resource
import signal
from pathlib import Path

import pytest
from driver import DEADLINE, Portico, get, until
from echoes import ECHOES
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect
from wires import TEXT, Wire, close, frame

APP, SCRIPT = ECHOES["asgi"]
MANY = 1000


def dial(url: str) -> ClientConnection:
    address = url.replace("http://", "ws://")
    return connect(f"{address}/talk?dialled", proxy=None, open_timeout=DEADLINE)


def says(socket: ClientConnection, text: str) -> None:
    socket.send(text)
    assert socket.recv(DEADLINE) == text


def closed_with(socket: ClientConnection) -> int:
    with pytest.raises(ConnectionClosed) as ended:
        socket.recv(DEADLINE)
    assert ended.value.rcvd is not None
    return ended.value.rcvd.code


@pytest.mark.parametrize("kind", ["asgi", "wsgi"])
def test_a_live_reload_closes_open_sockets_with_1012_on_both_sides(
    user: Portico, kind: str
) -> None:
    _, source = ECHOES[kind]
    script = user.script("sockets.py", source)
    serve = user.begin("serve", script)
    url = serve.until(r"http://127\.0\.0\.1:\d+")[0]
    serve.until("Serving until")
    with dial(url) as socket:
        says(socket, "on")
        user.script("sockets.py", re.sub('return "?1"?$', 'return "2"', source, flags=re.MULTILINE))
        assert closed_with(socket) == 1012
    serve.until("closed dialled 1012")
    assert get(f"{url}/version").text.strip('"') == "2"
    with dial(url) as socket:
        says(socket, "on again")


def test_a_new_deploy_leaves_open_sockets_a_while_and_then_closes_them_with_1012(
    own: Portico,
) -> None:
    app = own.deploy("sockets.py", SCRIPT)
    url = app.url("echo")
    with dial(url) as socket:
        says(socket, "first version")
        (old,) = own.containers(APP, "echo")
        own.deploy("sockets.py", SCRIPT.replace("return 1", "return 2"))
        assert get(f"{url}/version").json() == 2
        says(socket, "still there")
        with dial(url) as other:
            says(other, "second version")
            # What happens after half a minute happens at once to a container that somebody stops.
            own("container", "stop", old["container_id"])
            assert closed_with(socket) == 1012
            says(other, "undisturbed")
    until(lambda: [c["running"] for c in own.containers(APP, "echo")] == [0], "one idle container")


def test_a_server_that_shuts_down_closes_open_sockets_with_1001(user: Portico) -> None:
    server = user.start_server()
    app = user.deploy("sockets.py", SCRIPT)
    with dial(app.url("echo")) as socket, Wire(app.url("echo")) as mute:
        says(socket, "on")
        server.send(signal.SIGTERM)
        assert closed_with(socket) == 1001
        assert mute.frame().code == 1001  # and it never answers that
        assert server.wait() == 0


def test_a_thousand_idle_connections_are_held_by_one_container_and_leave_nothing(
    own: Portico,
) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < 2 * MANY + 100:
        pytest.skip(f"needs more open files than {hard}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 2 * MANY), hard))
    try:
        hold_many(own)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def hold_many(own: Portico) -> None:
    url = own.deploy("sockets.py", SCRIPT).url("echo")
    with Wire(url) as wire:
        wire.send(close(1000))
        assert wire.frame().code == 1000
    (container,) = own.containers(APP, "echo")
    server = int(own.json("server", "status")["pid"])
    before = [descriptors(pid) for pid in (server, container["pid"])]
    with contextlib.ExitStack() as stack:
        wires = [stack.enter_context(Wire(url)) for _ in range(MANY)]
        (full,) = own.containers(APP, "echo")
        assert (full["pid"], full["running"]) == (container["pid"], MANY)
        for wire in wires:
            wire.send(frame(TEXT, b"still here"))
        for wire in wires:
            assert wire.frame().payload == b"still here"
        for number, wire in enumerate(wires):
            wire.send(close(1000)) if number % 2 else wire.reset()
    until(lambda: own.containers(APP, "echo")[0]["running"] == 0, "no input runs")
    until(
        lambda: [descriptors(pid) for pid in (server, container["pid"])] == before,
        "as many open files as before",
    )


def descriptors(pid: int) -> int:
    return len(os.listdir(Path(f"/proc/{pid}/fd")))
