"""WebSockets of a ``wsgi_app``, by a library that takes over the connection's socket."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, unix_connect
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.http11 import Request

from containers import Images, Machine, address, run
from portico.wire.image import ImageEnvironment
from runner.wsgi_apps import serving

HANDLERS = """
    import simple_websocket

    def echo(environ, start):
        socket = simple_websocket.Server(environ)
        try:
            while (message := socket.receive()) != "leave":
                if message == "fail":
                    raise ValueError("on the way")
                if message == "id":
                    message = portico.current_input_id()
                socket.send(message)
            socket.close(4001, "as you wish")
        except simple_websocket.ConnectionClosed as closed:
            print("left with", int(closed.reason))
        return []

    def pour(environ, start):
        socket = simple_websocket.Server(environ)
        for _ in range(20):
            socket.send(b"x" * (2 << 20))
        socket.receive()
        return []

    def refuse(environ, start):
        assert "gunicorn.socket" in environ
        start("403 Forbidden", TEXT)
        return [b"not for you"]

    def plain(environ, start):
        start("200 OK", TEXT)
        return [repr("gunicorn.socket" in environ).encode()]
"""


@pytest.fixture
def image(images: Images) -> ImageEnvironment:
    return images.get("simple-websocket")


class GatewayConnection(ClientConnection):
    """Puts what the gateway says in front of what its client does."""

    async def handshake(self, *args: Any, **options: Any) -> None:
        send_request = self.protocol.send_request

        def reordered(request: Request) -> None:
            fields = sorted(request.headers.raw_items(), key=lambda field: field[0][:2] != "x-")
            request.headers = Headers(fields)
            send_request(request)

        self.protocol.send_request = reordered  # type: ignore[method-assign]
        await super().handshake(*args, **options)


def dial(path: str | None, number: int, target: str = "echo") -> unix_connect:
    return unix_connect(
        path,
        f"ws://x/{target}",
        additional_headers={
            "x-portico-input": str(number),
            "x-forwarded-for": "192.0.2.1",
            "x-forwarded-proto": "http",
        },
        max_size=None,
        create_connection=GatewayConnection,
        compression=None,  # what is large here is large on the wire
    )


async def code_of(socket: ClientConnection) -> tuple[int, str]:
    """How the server closes."""
    with pytest.raises(ConnectionClosed) as closed:
        await asyncio.wait_for(socket.recv(), 20)
    received = closed.value.rcvd
    return (1006, "") if received is None else (received.code, received.reason)


def test_messages_and_close_codes_pass_and_the_input_ends_with_the_connection(
    tmp_path: Path, image: ImageEnvironment
) -> None:
    async def main() -> None:
        async with Machine(tmp_path) as machine:
            _, watcher = await serving(machine, image, HANDLERS)
            path = address(watcher).path
            async with dial(path, 1) as one, dial(path, 2) as two:
                for socket, name in ((one, "in-1"), (two, "in-2")):
                    await socket.send("id")
                    assert await socket.recv() == name
                for message in ("text \u20ac", b"\x00binary", b"x" * (2 << 20), "y" * (2 << 20)):
                    await one.send(message)
                    assert await one.recv() == message
                assert watcher.ended_inputs == []
                await one.send("leave")
                assert await code_of(one) == (4001, "as you wish")
                await watcher.until_ended(1)
                assert watcher.ended_inputs == [1]
                await two.close(4002)
                assert two.close_code == 4002
            await watcher.until_ended(2)
            await machine.logs.until("left with 4002")
            assert machine.logs.text("stderr") == ""

    run(main())


def test_an_app_that_raises_ends_the_conversation_and_says_nothing_of_http(
    tmp_path: Path, image: ImageEnvironment
) -> None:
    async def main() -> None:
        async with Machine(tmp_path) as machine:
            _, watcher = await serving(machine, image, HANDLERS)
            async with dial(address(watcher).path, 1) as socket:
                await socket.send("fail")
                assert await code_of(socket) == (1006, "")
            await watcher.until_ended(1)
            await machine.logs.until("ValueError: on the way")

    run(main())


def test_an_offer_can_be_refused_with_an_ordinary_response(
    tmp_path: Path, image: ImageEnvironment
) -> None:
    async def main() -> None:
        async with Machine(tmp_path) as machine:
            _, watcher = await serving(machine, image, HANDLERS)
            with pytest.raises(InvalidStatus) as refused:
                async with dial(address(watcher).path, 1, "refuse"):
                    pass
            assert refused.value.response.status_code == 403
            assert refused.value.response.body == b"not for you"
            assert refused.value.response.headers["connection"] == "close"
            assert refused.value.response.headers["x-portico-ended"] == "1"

    run(main())


def test_open_sockets_are_closed_with_1001_at_sigterm(
    tmp_path: Path, image: ImageEnvironment
) -> None:
    async def main() -> None:
        async with Machine(tmp_path) as machine:
            container, watcher = await serving(machine, image, HANDLERS)
            async with dial(address(watcher).path, 1) as socket:
                await socket.send("on")
                assert await socket.recv() == "on"
                container.stop(20)
                assert await code_of(socket) == (1001, "")
            assert (await watcher.until_exit()).status == 0

    run(main())


def test_pongs_do_not_get_into_the_middle_of_a_message(
    tmp_path: Path, image: ImageEnvironment
) -> None:
    async def main() -> None:
        async with Machine(tmp_path) as machine:
            _, watcher = await serving(machine, image, HANDLERS)
            async with dial(address(watcher).path, 1, "pour") as socket:

                async def ping() -> None:
                    while True:
                        await socket.ping()
                        await asyncio.sleep(0)

                pinging = asyncio.create_task(ping())
                for _ in range(20):
                    assert await asyncio.wait_for(socket.recv(), 20) == b"x" * (2 << 20)
                pinging.cancel()
                await socket.send("enough")

    run(main())
