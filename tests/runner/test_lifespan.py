"""Lifespans as apps really answer them, the rude ones included."""

from __future__ import annotations

from pathlib import Path

import pytest

from containers import Machine, address, run
from exchanges import get
from portico.wire.container import ContainerExit
from portico.wire.image import ImageEnvironment
from portico.wire.manifest import MethodSpec, WebSpec

HEAD = """
import asyncio, sys, portico
app = portico.App("tests")

async def answer(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": repr(scope["state"]).encode()})

async def startup():
    raise RuntimeError("no database")

@app.cls()
class C:
    @portico.asgi_app()
    def web(self):
        return raw

    @portico.exit()
    def leave(self):
        print("exit ran")

async def raw(scope, receive, send):
    if scope["type"] != "lifespan":
        return await answer(scope, receive, send)
"""
CLASS = {
    "qualname": "C",
    "is_class": True,
    "methods": (MethodSpec(name="web", web=WebSpec(kind="asgi_app")),),
}
UNSUPPORTED = {
    "raises": "    raise NotImplementedError(scope['type'])",
    "returns": "    return",
    "takes it for a request": "    await answer({'state': None}, receive, send)",
}


@pytest.mark.parametrize("lifespan", UNSUPPORTED.values(), ids=UNSUPPORTED.keys())
def test_an_app_that_knows_no_lifespan_is_served_in_silence(
    tmp_path: Path, bare: ImageEnvironment, lifespan: str
) -> None:
    async def main() -> None:
        async with Machine(tmp_path) as machine:
            container, watcher = await machine.ready(bare, HEAD + lifespan, **CLASS)
            assert (await get(address(watcher, "web"))).body == b"{}"
            container.stop(20)
            assert (await watcher.until_exit()).status == 0
            assert machine.logs.text() == "exit ran"

    run(main())


def test_an_app_that_asks_for_its_lifespan_and_raises_is_served_but_not_in_silence(
    tmp_path: Path, bare: ImageEnvironment
) -> None:
    async def main() -> None:
        async with Machine(tmp_path) as machine:
            lifespan = "    await receive()\n    await startup()"
            _, watcher = await machine.ready(bare, HEAD + lifespan, **CLASS)
            assert (await get(address(watcher, "web"))).status == 200
            logged = machine.logs.text("stderr")
            assert "is served without" in logged
            assert logged.endswith("RuntimeError: no database")

    run(main())


FAILING = {
    # Quart says the text and waits for the next event, which never comes.
    "and waits for more": """
    while True:
        await receive()
        try:
            await startup()
        except RuntimeError as error:
            await send({"type": "lifespan.startup.failed", "message": str(error)})
""",
    "and raises": """
    await receive()
    try:
        await startup()
    except RuntimeError as error:
        await send({"type": "lifespan.startup.failed", "message": "for uvicorn's log"})
        raise
""",
    "by leaving": """
    await receive()
    sys.exit("no database")
""",
    "and only then raises": """
    await receive()
    await send({"type": "lifespan.startup.failed", "message": "for uvicorn's log"})
    await startup()
""",
}


@pytest.mark.parametrize("lifespan", FAILING.values(), ids=FAILING.keys())
def test_a_startup_that_fails_comes_with_its_cause_at_once(
    tmp_path: Path, bare: ImageEnvironment, lifespan: str
) -> None:
    exit = exit_of(tmp_path, bare, HEAD + lifespan)
    assert exit.failure is not None
    assert exit.failure.phase == "lifespan"
    assert exit.failure.message in ("RuntimeError: no database", "SystemExit: no database")
    assert '("no database")' in exit.failure.traceback


def test_a_startup_that_fails_with_a_text_alone_comes_with_the_text(
    tmp_path: Path, bare: ImageEnvironment
) -> None:
    lifespan = """
    await receive()
    await send({"type": "lifespan.startup.failed", "message": "the disk is full"})
    await receive()
    """
    exit = exit_of(tmp_path, bare, HEAD + lifespan)
    assert exit.failure is not None
    assert (exit.failure.phase, exit.failure.message) == ("lifespan", "the disk is full")


def exit_of(tmp_path: Path, image: ImageEnvironment, code: str) -> ContainerExit:
    async def main() -> ContainerExit:
        async with Machine(tmp_path) as machine:
            _, watcher = machine.start(image, code, startup_timeout=600, **CLASS)
            return await watcher.until_exit()

    return run(main())


STOPPING = {
    "says so": (
        """
        try:
            await startup()
        except RuntimeError as error:
            await send({"type": "lifespan.shutdown.failed", "message": "for uvicorn's log"})
        """,
        "RuntimeError: no database",
    ),
    "says only a text": (
        """
        await send({"type": "lifespan.shutdown.failed", "message": "the cache is lost"})
        """,
        "the cache is lost",
    ),
    "raises": ("    await startup()", "RuntimeError: no database"),
    "leaves": ("    sys.exit('enough')", "SystemExit: enough"),
    "never returns": (
        """
        await send({"type": "lifespan.shutdown.complete"})
        print("complete", file=sys.stderr)
        await receive()
        """,
        "complete",
    ),
}


@pytest.mark.parametrize(("shutdown", "logged"), STOPPING.values(), ids=STOPPING.keys())
def test_the_exit_hook_runs_and_says_what_went_wrong_when_a_shutdown(
    tmp_path: Path, bare: ImageEnvironment, shutdown: str, logged: str
) -> None:
    begin = """
    await receive()
    await send({"type": "lifespan.startup.complete"})
    await receive()
    if True:
    """

    async def main() -> None:
        async with Machine(tmp_path, stop_grace=60.0) as machine:
            container, watcher = await machine.ready(bare, HEAD + begin + shutdown, **CLASS)
            container.stop(20)
            assert (await watcher.until_exit()).status == 0
            assert machine.logs.text("stdout") == "exit ran"
            errors = machine.logs.text("stderr")
            assert errors.endswith(logged)
            assert errors.count(logged) == 1

    run(main())
