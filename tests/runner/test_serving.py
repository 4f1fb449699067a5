from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from websockets.asyncio.client import unix_connect
from websockets.exceptions import ConnectionClosed

from containers import Images, Machine, address, run
from exchanges import get, send
from portico.wire.image import ImageEnvironment
from portico.wire.manifest import MethodSpec, WebSpec

SQUARE = """
    import portico
    app = portico.App("tests")

    @app.function()
    @portico.fastapi_endpoint()
    def f(x: int = 2):
        return {"square": x**2}
"""
RAW = """
    import portico
    app = portico.App("tests")

    async def raw(scope, receive, send):
        assert scope["type"] == "http"
        body = repr((scope["client"], scope["scheme"], scope["headers"])).encode()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": body})

    @app.function()
    @portico.asgi_app()
    def f():
        return raw
"""


def test_a_fastapi_endpoint_answers_and_its_input_ends(
    tmp_path: Path, fastapi: ImageEnvironment
) -> None:
    async def main() -> None:
        async with Machine(tmp_path) as machine:
            _, watcher = await machine.ready(fastapi, SQUARE)
            response = await get(address(watcher), "/?x=7", number=1)
            assert (response.status, response.body) == (200, b'{"square":49}')
            assert response.header("date")
            assert response.header("server") is None
            assert response.ended
            assert (await get(address(watcher), "/docs")).status == 404
            timings = watcher.ready_message.timings if watcher.ready_message else {}
            assert set(timings) == {"boot", "import", "enter", "app", "lifespan"}

    run(main())


def test_a_fastapi_endpoint_allows_any_origin_with_credentials(
    tmp_path: Path, fastapi: ImageEnvironment
) -> None:
    async def main() -> None:
        async with Machine(tmp_path) as machine:
            _, watcher = await machine.ready(fastapi, SQUARE, web={"docs": True})
            response = await get(address(watcher), headers=("origin: http://a.example",))
            assert response.header("access-control-allow-origin") == "http://a.example"
            assert response.header("access-control-allow-credentials") == "true"
            assert (await get(address(watcher), "/docs")).status == 200
            assert (await get(address(watcher), "/openapi.json")).status == 200

    run(main())


def test_an_asgi_app_without_lifespan_sees_the_client_and_no_input_header(
    tmp_path: Path, bare: ImageEnvironment
) -> None:
    async def main() -> None:
        async with Machine(tmp_path) as machine:
            _, watcher = await machine.ready(bare, RAW, kind="asgi_app")
            claimed = ("x-forwarded-for: 6.6.6.6", "x-forwarded-proto: http")
            response = await get(
                address(watcher), number=1, client="192.0.2.7", scheme="https", headers=claimed
            )
            assert b"('192.0.2.7', 0), 'https'" in response.body
            assert b"x-portico-input" not in response.body

    run(main())


def test_a_class_shares_its_instance_among_web_methods_and_runs_its_hooks_in_order(
    tmp_path: Path, fastapi: ImageEnvironment
) -> None:
    code = """
        import contextlib, portico
        print("import")
        app = portico.App("tests")

        @app.cls()
        class C:
            root: str = portico.parameter(default="none")

            @portico.enter(snap=True)
            def first(self):
                self.seen = ["snap"]
                print("snap", self.root)

            @portico.enter()
            async def second(self):
                self.seen.append("enter")
                print("enter")

            @portico.fastapi_endpoint(method="POST")
            async def a(self, item: dict):
                self.seen.append(item["x"])
                return self.seen

            @portico.asgi_app()
            def b(self):
                from fastapi import FastAPI, Request

                @contextlib.asynccontextmanager
                async def lifespan(app):
                    print("startup")
                    yield {"count": 0}
                    print("shutdown")

                web = FastAPI(lifespan=lifespan)

                @web.get("/state")
                def state(request: Request):
                    request.state.count += 1
                    return [request.state.count, *self.seen]

                print("app")
                return web

            @portico.exit()
            def last(self):
                print("exit")
    """
    methods = (
        MethodSpec(name="a", web=WebSpec(kind="fastapi_endpoint", method="POST")),
        MethodSpec(name="b", web=WebSpec(kind="asgi_app")),
    )

    async def main() -> None:
        async with Machine(tmp_path) as machine:
            container, watcher = await machine.ready(
                fastapi,
                code,
                qualname="C",
                is_class=True,
                methods=methods,
                parameters={"root": "/r"},
            )
            response = await get(
                address(watcher, "a"),
                method="POST",
                body=b'{"x": 5}',
                headers=("content-type: application/json",),
            )
            assert response.body == b'["snap","enter",5]'
            for _ in range(2):  # what one request writes into its state, the next does not see
                response = await get(address(watcher, "b"), "/state")
                assert response.body == b'[1,"snap","enter",5]'
            container.stop(20)
            exit = await watcher.until_exit()
            assert exit.status == 0, machine.logs.text()
            printed = machine.logs.text("stdout").splitlines()
            order = ["import", "snap /r", "enter", "app", "startup", "shutdown", "exit"]
            assert printed == order

    run(main())


def test_a_users_exception_is_a_500_with_one_trimmed_traceback(
    tmp_path: Path, fastapi: ImageEnvironment
) -> None:
    code = """
        import portico
        app = portico.App("tests")

        @app.function()
        @portico.fastapi_endpoint()
        def f():
            raise ValueError("no good")
    """

    async def main() -> None:
        async with Machine(tmp_path) as machine:
            _, watcher = await machine.ready(fastapi, code)
            response = await get(address(watcher), number=1)
            assert (response.status, response.body) == (500, b"Internal Server Error")
            assert response.ended
            await machine.logs.until("ValueError: no good")
            text = machine.logs.text("stderr")
            assert text.count("ValueError: no good") == 1
            assert 'raise ValueError("no good")' in text
            assert "starlette" not in text
            assert "uvicorn" not in text

    run(main())


def test_an_input_ends_after_its_background_task_and_not_before(
    tmp_path: Path, fastapi: ImageEnvironment
) -> None:
    code = """
        import asyncio, pathlib, portico
        from fastapi import BackgroundTasks
        app = portico.App("tests")

        async def work():
            print("working")
            while not pathlib.Path("go").exists():
                await asyncio.sleep(0.005)

        @app.function()
        @portico.fastapi_endpoint()
        def f(tasks: BackgroundTasks):
            tasks.add_task(work)
            return 1
    """

    async def main() -> None:
        async with Machine(tmp_path) as machine:
            container, watcher = await machine.ready(fastapi, code)
            response = await get(address(watcher), number=4)
            assert (response.status, response.ended) == (200, False)
            await machine.logs.until("working")
            container.cancel([99])  # answered in order: whatever had ended would have come first
            await watcher.until_ended(99)
            assert watcher.ended_inputs == [99]
            folder = machine.folder / "run" / watched_id(machine)
            (folder / "go").touch()
            await watcher.until_ended(4)

    run(main())


def watched_id(machine: Machine) -> str:
    (folder,) = (p for p in (machine.folder / "run").iterdir() if p.name.startswith("ta-"))
    return folder.name


def test_a_request_that_uvicorn_refuses_ends_its_input(
    tmp_path: Path, bare: ImageEnvironment
) -> None:
    async def main() -> None:
        async with Machine(tmp_path) as machine:
            _, watcher = await machine.ready(bare, RAW, kind="asgi_app")
            response = await get(address(watcher), number=8, headers=("content-length: many",))
            assert response.status == 400
            await watcher.until_ended(8)
            handshake = ("connection: upgrade", "upgrade: websocket", "sec-websocket-version: 7")
            await get(address(watcher), number=9, headers=handshake)
            await watcher.until_ended(9)

    run(main())


def test_sockets_are_closed_with_1001_when_the_container_has_to_end(
    tmp_path: Path, fastapi: ImageEnvironment
) -> None:
    code = """
        import portico
        app = portico.App("tests")

        @app.function()
        @portico.asgi_app()
        def f():
            from fastapi import FastAPI, WebSocket
            web = FastAPI()

            @web.websocket("/ws")
            async def ws(socket: WebSocket):
                await socket.accept()
                async for text in socket.iter_text():
                    await socket.send_text(text * 2)
                print("left")

            return web
    """

    async def main() -> None:
        async with Machine(tmp_path) as machine:
            container, watcher = await machine.ready(fastapi, code, kind="asgi_app")
            path = address(watcher).path
            async with unix_connect(
                path, "ws://x/ws", additional_headers={"x-portico-input": "3"}
            ) as socket:
                await socket.send("ab")
                assert await socket.recv() == "abab"
                container.stop(20)
                with pytest.raises(ConnectionClosed) as closed:
                    await socket.recv()
                assert closed.value.rcvd is not None
                assert closed.value.rcvd.code == 1001
            await machine.logs.until("left")
            assert (await watcher.until_exit()).status == 0

    run(main())


def test_a_streamed_response_comes_as_it_is_sent(tmp_path: Path, fastapi: ImageEnvironment) -> None:
    code = """
        import asyncio, pathlib, portico
        from fastapi.responses import StreamingResponse
        app = portico.App("tests")

        async def numbers():
            yield b"one"
            while not pathlib.Path("go").exists():
                await asyncio.sleep(0.005)
            yield b"two"

        @app.function()
        @portico.fastapi_endpoint()
        def f():
            return StreamingResponse(numbers())
    """

    async def main() -> None:
        async with Machine(tmp_path) as machine:
            _, watcher = await machine.ready(fastapi, code)
            exchange = await send(address(watcher), number=1)
            await exchange.reader.readuntil(b"one\r\n")
            (machine.folder / "run" / watched_id(machine) / "go").touch()
            await exchange.reader.readuntil(b"two\r\n")
            await watcher.until_ended(1)
            exchange.close()

    run(main())


def test_two_images_hold_different_versions_of_one_package(tmp_path: Path, images: Images) -> None:
    code = """
        import iniconfig, importlib.metadata, portico
        app = portico.App("tests")

        @app.function()
        @portico.asgi_app()
        def f():
            async def raw(scope, receive, send):
                assert scope["type"] == "http"
                body = importlib.metadata.version("iniconfig").encode()
                await send({"type": "http.response.start", "status": 200, "headers": []})
                await send({"type": "http.response.body", "body": body})
            return raw
    """

    async def main() -> None:
        async with Machine(tmp_path) as machine:
            versions = ("2.0.0", "2.1.0")
            built = [images.get(f"iniconfig=={version}") for version in versions]
            started = await asyncio.gather(
                *(machine.ready(image, code, kind="asgi_app") for image in built)
            )
            answers = [(await get(address(watcher))).body.decode() for _, watcher in started]
            assert tuple(answers) == versions

    run(main())
