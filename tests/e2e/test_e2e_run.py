"""`portico run`, and plain Python programs that use an app."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from driver import DEADLINE, Portico, get, wait_gone

SCRIPT = """
    import asyncio
    import os
    import modal

    app = modal.App("sums", image=modal.Image.debian_slim())

    @app.function()
    def cube(x: int):
        print("cubing", x)
        return x ** 3

    @app.function()
    def whereabouts():
        return modal.is_local(), os.getpid()

    @app.function()
    def fails(x: int):
        raise KeyError(f"no number {x}")

    @app.cls()
    class Till:
        start: int = modal.parameter(default=10)

        @modal.enter()
        def open(self):
            self.total = self.start

        @modal.method()
        def add(self, n: int):
            self.total += n
            return self.total

    @app.local_entrypoint()
    def main(x: int, twice: bool = False, label: str = "result"):
        value = cube.remote(x)
        if twice:
            value += cube.spawn(x).get()
        print(f"{label}={value}")

    @app.local_entrypoint()
    async def eventually(x: int = 2):
        values = await asyncio.gather(cube.remote.aio(x), cube.remote.aio(x + 1))
        print("values", values)

    @app.local_entrypoint()
    def where():
        local, pid = whereabouts.remote()
        print("remote", not local, pid != os.getpid(), modal.is_local())

    @app.local_entrypoint()
    def till():
        print("till", Till().add.remote(1), Till(start=100).add.remote(1))

    @app.local_entrypoint()
    def fault():
        fails.remote(7)

    @app.local_entrypoint()
    def caught():
        try:
            fails.remote(7)
        except KeyError as error:
            print("caught", error)
"""


@pytest.fixture
def script(server: Portico) -> Path:
    return server.script("sums.py", SCRIPT)


def test_a_local_entrypoint_takes_its_arguments_from_the_command_line(
    server: Portico, script: Path
) -> None:
    said = server("run", f"{script}::main", "--x", "3")
    assert said.stdout == "result=27\n"
    assert "cube | cubing 3" in said.stderr
    said = server("run", f"{script}::main", "--x=3", "--twice", "--label", "sum")
    assert said.stdout == "sum=54\n"
    wrong = server("run", f"{script}::main", "--x", "three", status=2)
    assert "--x" in wrong.stderr
    assert server.json("app", "list") == [
        one for one in server.json("app", "list") if one["name"] != "sums"
    ]


def test_an_entrypoint_may_be_async_and_calls_run_elsewhere(server: Portico, script: Path) -> None:
    assert server("run", f"{script}::eventually").stdout == "values [8, 27]\n"
    assert server("run", f"{script}::where").stdout == "remote True True True\n"
    assert server("run", f"{script}::till").stdout == "till 11 101\n"


def test_a_plain_function_runs_in_a_container(server: Portico, script: Path) -> None:
    said = server("run", f"{script}::cube", "--x", "4")
    assert said.stdout == "64\n"
    assert "cubing 4" in said.stderr


@pytest.mark.parametrize("name", ["fault", "fails"])
def test_a_users_exception_is_shown_without_portico_and_fails(
    server: Portico, script: Path, name: str
) -> None:
    failed = server(
        "run", f"{script}::{name}", *(["--x", "7"] if name == "fails" else []), status=1
    )
    assert "KeyError: 'no number 7'" in failed.stderr
    assert "raise KeyError" in failed.stderr
    assert f"portico{os.sep}" not in failed.stderr.replace(str(server.folder), "")
    assert server("run", f"{script}::caught").stdout == "caught 'no number 7'\n"


def test_run_needs_no_server(user: Portico) -> None:
    said = user("run", f"{user.script('sums.py', SCRIPT)}::main", "--x", "2")
    assert said.stdout == "result=8\n"
    assert wait_gone(user.state) == []


def python(user: Portico, text: str, status: int = 0) -> subprocess.CompletedProcess[str]:
    """Run a program of its own, as `python program.py`."""
    program = user.script("program.py", text)
    done = subprocess.run(
        [sys.executable, str(program)],
        capture_output=True,
        text=True,
        env=user.env,
        cwd=user.work,
        timeout=DEADLINE,
    )
    assert done.returncode == status, done.stderr
    return done


def test_a_program_runs_its_own_app(server: Portico) -> None:
    said = python(
        server,
        """
        import portico

        app = portico.App("program", image=portico.Image.debian_slim())

        @app.function()
        def shout(text):
            return text.upper()

        if __name__ == "__main__":
            with app.run():
                print(shout.remote("quietly"), shout.local("here"))
        """,
    )
    assert said.stdout == "QUIETLY HERE\n"


def test_a_program_calls_functions_of_a_deployed_app(server: Portico, script: Path) -> None:
    server("deploy", script)
    said = python(
        server,
        """
        import portico

        cube = portico.Function.from_name("sums", "cube")
        print(cube.remote(5), cube.spawn(2).get(timeout=30))
        print(portico.Cls.from_name("sums", "Till")(start=5).add.remote(1))
        try:
            portico.Function.from_name("sums", "fails").remote(1)
        except KeyError as error:
            print("raised", error)
        try:
            portico.Function.from_name("sums", "missing").remote()
        except portico.exception.NotFoundError as error:
            print("missing" in str(error))
        """,
    )
    assert said.stdout == "125 8\n6\nraised 'no number 1'\nTrue\n"


def test_a_web_function_cannot_be_called_and_the_refusal_names_its_url(server: Portico) -> None:
    app = server.deploy(
        "page.py",
        """
        import modal
        app = modal.App("page", image=IMAGE)

        @app.function()
        @modal.fastapi_endpoint()
        def page():
            return "page"
        """,
    )
    said = python(
        server,
        """
        import portico
        page = portico.Function.from_name("page", "page")
        print(page.get_web_url())
        try:
            page.remote()
        except portico.exception.InvalidError as error:
            print(error)
        """,
    )
    url, *refusal = said.stdout.splitlines()
    assert url == app.urls["page"][0]
    assert url in "\n".join(refusal)
    assert get(app.url("page")).json() == "page"
