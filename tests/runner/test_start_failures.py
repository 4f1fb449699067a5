from __future__ import annotations

from pathlib import Path

import pytest

from containers import Images, Machine, address, run
from exchanges import get
from portico.wire.container import ContainerExit
from portico.wire.image import ImageEnvironment

HEAD = """
    import portico
    app = portico.App("tests")
"""


def exit_of(
    tmp_path: Path, image: ImageEnvironment, code: str, **options: object
) -> tuple[ContainerExit, str]:
    async def main() -> tuple[ContainerExit, str]:
        async with Machine(tmp_path) as machine:
            _, watcher = machine.start(image, code, **options)  # type: ignore[arg-type]
            exit = await watcher.until_exit()
            assert watcher.ready_message is None
            assert watcher.after_exit == []
            return exit, machine.logs.text("stderr")

    return run(main())


def test_an_import_error_comes_with_the_users_traceback(
    tmp_path: Path, bare: ImageEnvironment
) -> None:
    exit, printed = exit_of(tmp_path, bare, "import a_module_nobody_has\n")
    assert exit.status == 1
    assert exit.failure is not None
    assert exit.failure.phase == "import"
    assert "No module named 'a_module_nobody_has'" in exit.failure.message
    assert "import a_module_nobody_has" in exit.failure.traceback
    assert "importlib" not in exit.failure.traceback
    assert "portico" not in exit.failure.traceback.replace(str(tmp_path), "")
    assert "a_module_nobody_has" in printed


def test_a_syntax_error_shows_the_line(tmp_path: Path, bare: ImageEnvironment) -> None:
    exit, _ = exit_of(tmp_path, bare, "def f(:\n")
    assert exit.failure is not None
    assert "SyntaxError" in exit.failure.message
    assert "def f(:" in exit.failure.traceback


def test_leaving_at_import_is_a_failed_import(tmp_path: Path, bare: ImageEnvironment) -> None:
    exit, _ = exit_of(tmp_path, bare, "import sys\nsys.exit(0)\n")
    assert exit.failure is not None
    assert exit.failure.phase == "import"
    assert exit.status == 1


def test_a_missing_name_is_said(tmp_path: Path, bare: ImageEnvironment) -> None:
    exit, _ = exit_of(tmp_path, bare, "x = 1\n")
    assert exit.failure is not None
    assert "has no 'f'" in exit.failure.message


def test_missing_fastapi_says_how_to_add_it(tmp_path: Path, bare: ImageEnvironment) -> None:
    code = (
        HEAD
        + """
    @app.function()
    @portico.fastapi_endpoint()
    def f():
        return 1
    """
    )
    exit, printed = exit_of(tmp_path, bare, code)
    assert exit.failure is not None
    assert exit.failure.phase == "app"
    assert '.pip_install("fastapi[standard]")' in exit.failure.message
    assert "Traceback" not in printed


def test_what_is_no_asgi_app_is_refused(tmp_path: Path, bare: ImageEnvironment) -> None:
    code = (
        HEAD
        + """
    @app.function()
    @portico.asgi_app()
    def f():
        return None
    """
    )
    exit, _ = exit_of(tmp_path, bare, code, kind="asgi_app")
    assert exit.failure is not None
    assert (exit.failure.phase, exit.status) == ("app", 1)
    assert "NoneType, which is no ASGI app" in exit.failure.message


def test_a_failing_lifespan_fails_the_start(tmp_path: Path, fastapi: ImageEnvironment) -> None:
    code = (
        HEAD
        + """
    import contextlib

    @app.function()
    @portico.asgi_app()
    def f():
        from fastapi import FastAPI

        @contextlib.asynccontextmanager
        async def lifespan(app):
            raise RuntimeError("no database")
            yield

        return FastAPI(lifespan=lifespan)
    """
    )
    exit, _ = exit_of(tmp_path, fastapi, code, kind="asgi_app")
    assert exit.failure is not None
    assert (exit.failure.phase, exit.status) == ("lifespan", 1)
    assert exit.failure.message == "RuntimeError: no database"
    assert 'raise RuntimeError("no database")' in exit.failure.traceback
    assert "starlette" not in exit.failure.traceback


def test_a_failing_enter_hook_fails_the_start(tmp_path: Path, bare: ImageEnvironment) -> None:
    code = (
        HEAD
        + """
    @app.cls()
    class C:
        @portico.enter()
        async def load(self):
            raise OSError("no model")

        @portico.asgi_app()
        def f(self):
            return None
    """
    )
    exit, _ = exit_of(tmp_path, bare, code, qualname="C", is_class=True)
    assert exit.failure is not None
    assert (exit.failure.phase, exit.failure.message) == ("enter", "OSError: no model")


def test_a_container_runs_on_python_3_10(tmp_path: Path, images: Images) -> None:
    import os

    found = sorted(
        Path(os.environ.get("PYENV_ROOT", "/nowhere")).glob("versions/3.10.*/bin/python")
    )
    if not found:
        pytest.skip("no Python 3.10 on this machine")
    code = (
        HEAD
        + """
    import sys

    @app.function()
    @portico.fastapi_endpoint()
    def f():
        return sys.version_info[:2]
    """
    )

    async def main() -> None:
        async with Machine(tmp_path) as machine:
            image = images.get("fastapi", python=str(found[-1]))
            container, watcher = await machine.ready(image, code)
            response = await get(address(watcher), number=1)
            assert (response.body, response.ended) == (b"[3,10]", True)
            container.stop(20)
            assert (await watcher.until_exit()).status == 0

    run(main())


@pytest.mark.parametrize(
    ("returned", "said"),
    [
        ("None", "f returned NoneType, which is no WSGI app: return the app object itself"),
        ("asgi", "f returned an ASGI app (function): use @asgi_app instead of @wsgi_app"),
        ("Asgi()", "f returned an ASGI app (Asgi): use @asgi_app instead of @wsgi_app"),
    ],
)
def test_what_is_no_wsgi_app_is_said_with_what_to_do(
    tmp_path: Path, bare: ImageEnvironment, returned: str, said: str
) -> None:
    code = f"""{HEAD}
    async def asgi(scope, receive, send):
        pass

    class Asgi:
        async def __call__(self, scope, receive, send):
            pass

    @app.function()
    @portico.wsgi_app()
    def f():
        return {returned}
    """
    exit, _ = exit_of(tmp_path, bare, code, kind="wsgi_app")
    assert exit.failure is not None
    assert (exit.failure.phase, exit.failure.message) == ("app", said)


@pytest.mark.parametrize(
    ("patch", "phase"),
    [
        ("from gevent import monkey; monkey.patch_all()", "import"),
        ("from gevent import monkey; monkey.patch_all()", "app"),
        ("import eventlet; eventlet.monkey_patch()", "app"),
    ],
)
def test_green_threads_in_the_place_of_pythons_are_refused_with_what_to_do(
    tmp_path: Path, images: Images, patch: str, phase: str
) -> None:
    at_import, in_function = (patch, "pass") if phase == "import" else ("pass", patch)
    code = f"""{HEAD}
    {at_import}

    @app.function()
    @portico.wsgi_app()
    def f():
        {in_function}
        return lambda environ, start: []
    """
    exit, printed = exit_of(
        tmp_path, images.get("gevent", "eventlet"), code, kind="wsgi_app", max_inputs=9
    )
    assert exit.failure is not None
    assert (exit.failure.phase, exit.status) == (phase, 1)
    library = "gevent" if "gevent" in patch else "eventlet"
    assert exit.failure.message.startswith(f"{library} has replaced Python's threads")
    assert "@web_server" in exit.failure.message
    assert "Traceback" not in printed


def test_gevent_is_welcome_as_long_as_threads_stay_threads(tmp_path: Path, images: Images) -> None:
    code = f"""{HEAD}
    import time

    @app.function()
    @portico.wsgi_app()
    def f():
        from gevent import monkey; monkey.patch_all(thread=False)

        def app(environ, start):
            time.sleep(0.001)
            start("200 OK", [])
            return [environ["wsgi.input"].read()]

        return app
    """

    async def main() -> None:
        async with Machine(tmp_path) as machine:
            image = images.get("gevent", "eventlet")
            _, watcher = await machine.ready(image, code, kind="wsgi_app", max_inputs=9)
            for number in range(1, 4):
                response = await get(address(watcher), number=number)
                assert (response.status, response.ended) == (200, True)

    run(main())
