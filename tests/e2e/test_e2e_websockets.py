"""WebSockets through every kind of web function that speaks them: one contract, one echo server a kind."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
from driver import DEADLINE, Deployed, Portico, get, until
from echoes import ECHOES
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect
from wires import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, Wire, close, frame

LIMIT = 2 << 20  # bytes of a message


class Echo(NamedTuple):
    """A deployed echo server of one kind."""

    kind: str
    app: str
    deployed: Deployed
    server: Portico

    def url(self, function: str = "echo") -> str:
        return self.deployed.url(function)

    def running(self, function: str = "echo") -> list[int]:
        """Inputs that run, by container."""
        return [c["running"] for c in self.server.containers(self.app, function)]

    def until_quiet(self, function: str = "echo") -> None:
        until(lambda: not any(self.running(function)), "no input runs")


@pytest.fixture(scope="module", params=ECHOES)
def echo(request: pytest.FixtureRequest, server: Portico) -> Iterator[Echo]:
    app, script = ECHOES[request.param]
    echo = Echo(request.param, app, server.deploy(f"{app}.py", script), server)
    yield echo
    for function in ("echo", "pairs", "brief"):
        echo.until_quiet(function)


def dial(url: str, target: str = "/talk", **options: Any) -> ClientConnection:
    options = {"max_size": None, "proxy": None, "open_timeout": DEADLINE, **options}
    return connect(url.replace("http://", "ws://") + target, **options)


def ask(socket: ClientConnection) -> dict[str, Any]:
    """What the server knows about its connection."""
    socket.send("who")
    return dict(json.loads(socket.recv(DEADLINE)))


def closed(socket: ClientConnection) -> tuple[int, str]:
    """How the connection ended, whatever came before."""
    try:
        while True:
            socket.recv(DEADLINE)
    except ConnectionClosed as ended:
        return (ended.rcvd.code, ended.rcvd.reason) if ended.rcvd is not None else (1006, "")


def closed_for(socket: ClientConnection, message: bytes | list[bytes]) -> tuple[int, str]:
    """How the connection ended that `message` was too much for."""
    with contextlib.suppress(ConnectionClosed):  # before all of it was sent
        socket.send(message)
    return closed(socket)


# ---- handshakes


def test_a_handshake_reaches_the_server_whole_and_its_answer_comes_back(echo: Echo) -> None:
    headers = [
        ("Authorization", "Bearer t0ken"),
        ("Cookie", "flavour=oat; size=2"),
        ("X-Custom", "Ünï"),
        ("X-Twice", "one"),
        ("X-Twice", "two"),
        ("Origin", "http://elsewhere.example"),
    ]
    target = "/talk?tag=a%2Fb&tag=%C3%A9"
    with dial(
        echo.url(), target, additional_headers=headers, subprotocols=["chat", "superchat"]
    ) as socket:
        assert socket.subprotocol == "superchat"
        assert socket.response is not None
        if echo.kind != "wsgi":  # Flask-Sock's 101 has no headers of the app's
            assert socket.response.headers["set-cookie"].startswith("seen=1")
        assert socket.response.headers["x-request-id"].startswith("in-")
        who = ask(socket)
    got = [(name, value) for name, value in who["headers"] if name != "x-custom"]
    for name, value in headers:
        assert name == "X-Custom" or (name.lower(), value) in got
    assert [value for name, value in got if name == "x-twice"] == ["one", "two"]
    assert who["cookies"] == {"flavour": "oat", "size": "2"}
    assert who["query"] == "tag=a%2Fb&tag=%C3%A9"
    assert (who["client"], who["scheme"]) == ("127.0.0.1", "ws")
    with dial(echo.url(), subprotocols=["chat"]) as socket:
        assert socket.subprotocol is None


def test_a_server_can_refuse_instead_of_accepting(echo: Echo) -> None:
    with pytest.raises(InvalidStatus) as refused:
        dial(echo.url(), "/refuse")
    assert refused.value.response.status_code == 403
    with pytest.raises(InvalidStatus) as denied:
        dial(echo.url(), "/deny")
    response = denied.value.response
    assert (response.status_code, response.body) == (451, b"closed on sundays")
    assert response.headers["x-why"] == "sunday"
    echo.until_quiet()


def test_a_handshake_that_the_server_cannot_take_is_answered_by_it(echo: Echo) -> None:
    version = Wire(echo.url(), headers={"Sec-WebSocket-Version": "99"})
    key = Wire(echo.url(), headers={"Sec-WebSocket-Key": None})
    if echo.kind == "asgi":  # RFC 6455 §4.2.2, RFC 9110 §15.5.22
        assert version.headers["sec-websocket-version"] == "13"
        assert version.headers["upgrade"] == "websocket"
    statuses = {"asgi": (426, 400), "wsgi": (500, 500), "web_server": (400, 400)}
    assert (version.status, key.status) == statuses[echo.kind]  # Flask-Sock raises
    for wire in (version, key):
        wire.socket.close()
    echo.until_quiet()


# ---- messages


def test_text_and_bytes_come_back_up_to_the_limit(echo: Echo) -> None:
    with dial(echo.url(), compression=None) as socket:
        for message in (
            "",
            "ahoy",
            "κόσμε",
            b"",
            bytes(range(256)),
            os.urandom(LIMIT),
            "é" * (LIMIT // 2),
        ):
            socket.send(message)
            assert socket.recv(DEADLINE) == message


def test_a_message_in_fragments_with_pings_amid_is_one_message(echo: Echo) -> None:
    with Wire(echo.url()) as wire:
        wire.send(frame(BINARY, b"x" * (LIMIT - 2), fin=False))
        for n in range(20):
            wire.send(
                frame(PING, b"%d" % n), frame(PONG, b"unasked"), frame(CONTINUATION, fin=False)
            )
            assert wire.frame() == (0x80 | PONG, b"%d" % n)
        wire.send(frame(CONTINUATION, b"yz"))
        assert wire.frame() == (0x80 | BINARY, b"x" * (LIMIT - 2) + b"yz")


@pytest.mark.parametrize("fragments", [1, 3])
def test_a_message_over_the_limit_closes_with_1009_and_the_server_learns_it(
    echo: Echo, fragments: int
) -> None:
    tag = f"large{fragments}"
    with dial(echo.url(), f"/talk?{tag}", compression=None) as socket:
        message = [bytes(LIMIT // fragments + 1)] * fragments
        assert closed_for(socket, message) == (1009, f"messages can be up to {LIMIT} bytes")
    echo.server.until_logged(echo.app, f"closed {tag} 1009")


def test_a_message_of_the_server_over_the_limit_closes_with_1009(echo: Echo) -> None:
    with dial(echo.url(), "/talk?sent", compression=None) as socket:
        socket.send(f"send {LIMIT}")
        assert len(socket.recv(DEADLINE)) == LIMIT
        socket.send(f"send {LIMIT + 1}")
        assert closed(socket)[0] == 1009
    echo.server.until_logged(echo.app, "closed sent 1009")


def test_compression_is_agreed_end_to_end_and_the_limit_counts_what_is_on_the_wire(
    echo: Echo,
) -> None:
    with dial(echo.url()) as socket:
        assert socket.response is not None
        assert "permessage-deflate" in socket.response.headers["sec-websocket-extensions"]
        for message in ("z" * (2 * LIMIT), os.urandom(LIMIT // 2)):
            socket.send(message)
            assert socket.recv(DEADLINE) == message
        assert closed_for(socket, os.urandom(LIMIT + LIMIT // 64))[0] == 1009
    offer = {"Sec-WebSocket-Extensions": "permessage-deflate; client_no_context_takeover"}
    with Wire(echo.url(), headers=offer) as wire:
        # RFC 7692 §7.2.3.1: "Hello", compressed.
        wire.send(frame(TEXT, b"\xf2\x48\xcd\xc9\xc9\x07\x00", rsv=4))
        answer = wire.frame()
        assert answer.first == 0xC0 | TEXT  # its RSV1 bit too, which means nothing to the gateway


# ---- ends


@pytest.mark.parametrize(
    ("tag", "end", "code", "reason"),
    [
        ("plain", close(1000), 1000, ""),
        ("own", close(4321, "später"), 4321, "später"),
        ("none", close(), 1005, ""),
    ],
    ids=["plain", "own", "none"],
)
def test_the_server_learns_the_clients_code_and_reason(
    echo: Echo, tag: str, end: bytes, code: int, reason: str
) -> None:
    with Wire(echo.url(), f"/talk?{tag}") as wire:
        wire.send(end)
        assert wire.frame().first == 0x80 | CLOSE
        assert wire.ended()
    # aiohttp calls a close without a code one with code 0.
    code = 0 if code == 1005 and echo.kind == "web_server" else code
    echo.server.until_logged(echo.app, f"closed {tag} {code} {reason}")


@pytest.mark.parametrize("leave", ["reset", "end"])
def test_a_client_that_leaves_without_a_word_is_1006_and_frees_its_slot(
    echo: Echo, leave: str
) -> None:
    with Wire(echo.url(), f"/talk?{leave}") as wire:
        wire.send(frame(TEXT, b"hello"))
        assert wire.frame().payload == b"hello"
        assert sum(echo.running()) == 1
        if leave == "reset":
            wire.reset()
    # simple-websocket does not tell this end from a close without a code.
    code = 1005 if echo.kind == "wsgi" else 1006
    echo.server.until_logged(echo.app, f"closed {leave} {code}")
    echo.until_quiet()


@pytest.mark.parametrize(("code", "reason"), [(1000, ""), (1011, "oh"), (4999, "schluß " * 15)])
def test_the_client_learns_the_servers_code_and_reason(echo: Echo, code: int, reason: str) -> None:
    with dial(echo.url()) as socket:
        socket.send(f"close {code} {reason}".strip())
        assert closed(socket) == (code, reason.strip())
    echo.until_quiet()


def test_a_crash_ends_the_connection_with_1006_and_the_next_one_finds_a_new_container(
    echo: Echo,
) -> None:
    with dial(echo.url("pairs")) as socket:
        pid = ask(socket)["pid"]
        socket.send("crash")
        assert closed(socket) == (1006, "")

    def another() -> bool:
        # A server that has ended is noticed a moment later than its connections.
        try:
            with dial(echo.url("pairs")) as socket:
                return bool(ask(socket)["pid"] != pid)
        except (InvalidStatus, ConnectionClosed):
            return False

    until(another, "another container")


def test_a_silent_connection_is_closed_after_the_timeout_and_a_lively_one_lives_on(
    echo: Echo,
) -> None:
    with dial(echo.url("brief")) as silent, dial(echo.url("brief")) as lively:
        assert ask(silent)["input"] != ask(lively)["input"]
        for n in range(8):  # twice the timeout of 2 s
            lively.send(str(n))
            assert lively.recv(DEADLINE) == str(n)
            with pytest.raises(TimeoutError):
                lively.recv(0.5)
        assert closed(silent) == (1001, "nothing was said for 2 s")
        lively.send("still here")
        assert lively.recv(DEADLINE) == "still here"
    echo.until_quiet("brief")


def test_a_client_that_neither_reads_nor_speaks_holds_up_the_server_and_nothing_grows(
    echo: Echo,
) -> None:
    pid = json.loads((echo.server.state / "client.json").read_text())["pid"]
    before, most = resident(pid), 0

    def cut() -> bool:
        nonlocal most
        most = max(most, resident(pid) - before)
        return "flooded stuck" in echo.server.logs(echo.app)

    with Wire(echo.url("brief"), "/talk?stuck") as wire:
        wire.send(frame(TEXT, b"flood"))
        # It sends as fast as it can until nothing takes any more; then nothing is said for 2 seconds.
        until(cut, "an end of the flood")
        assert most < 64 << 20
        assert wire.frame().first == 0x80 | BINARY
    echo.until_quiet("brief")


def resident(pid: int) -> int:
    """Bytes of memory that `pid` holds."""
    with open(f"/proc/{pid}/statm") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


# ---- inputs and containers


def test_a_connection_is_one_input_and_beyond_its_slots_there_is_a_new_container(
    echo: Echo,
) -> None:
    with (
        dial(echo.url("pairs")) as one,
        dial(echo.url("pairs")) as two,
        dial(echo.url("pairs")) as three,
    ):
        first = [ask(socket) for socket in (one, two, three)]
        again = [ask(socket) for socket in (one, two, three)]
        assert sorted(echo.running("pairs")) == [1, 2]
    inputs = [who["input"] for who in first]
    assert [who["input"] for who in again] == inputs
    assert len(set(inputs)) == 3
    assert all(name.startswith("in-") for name in inputs)
    assert len({who["pid"] for who in first}) == 2
    echo.until_quiet("pairs")


# ---- functions that speak none


def test_a_function_that_speaks_no_websocket_answers_the_handshake(server: Portico) -> None:
    app = server.deploy(
        "plain.py",
        """
        import modal

        app = modal.App("plain")

        @app.function(image=IMAGE)
        @modal.fastapi_endpoint()
        def plain():
            return "plain"

        @app.function()
        @modal.web_server(8000)
        def files():
            import subprocess
            subprocess.Popen("python -m http.server 8000", shell=True)
        """,
    )
    for function, status in (("plain", 403), ("files", 200)):
        wire = Wire(app.url(function), "/")
        assert wire.status == status
        wire.socket.close()
    assert get(app.url("plain")).json() == "plain"
    until(lambda: not any(c["running"] for c in server.containers("plain")), "no input runs")
