"""uvicorn without Portico, set up as Portico's containers set it up."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.home import APPS, Home
from benchmarks.http import Answer, get
from benchmarks.processes import background, free_port

OPTIONS = (
    *("--loop", "uvloop", "--http", "httptools", "--lifespan", "off", "--log-level", "warning"),
    *("--no-access-log", "--no-server-header", "--no-proxy-headers"),
    *("--timeout-keep-alive", "3600"),
)


@contextlib.contextmanager
def uvicorn_on_port(home: Home, name: str, app: Sequence[str]) -> Iterator[str]:
    """The URL of one uvicorn process on a TCP port, once it answers."""
    port = free_port()
    where = ["--host", "127.0.0.1", "--port", str(port)]
    command: list[str | Path] = [home.python, "-m", "uvicorn", *app, *OPTIONS, *where]
    url = f"http://127.0.0.1:{port}"
    with background(command, folder=home.folder / name, env=home.environ) as process:
        process.wait_for(lambda: answered(url), "an answer")
        yield url


@contextlib.contextmanager
def uvicorn_on_socket(home: Home, name: str, app: Sequence[str]) -> Iterator[str]:
    """The path of the unix socket of one uvicorn process, once it exists."""
    path = home.folder / f"{name}.sock"
    command: list[str | Path] = [home.python, "-m", "uvicorn", *app, *OPTIONS, "--uds", path]
    with background(command, folder=home.folder / name, env=home.environ) as process:
        process.wait_for(lambda: path.exists() or None, "the socket")
        yield str(path)


def answered(url: str, body: str = "") -> Answer | None:
    """What `url` answers, if it does."""
    try:
        return get(url, body)
    except OSError:
        return None


RAW = ("--app-dir", str(APPS), "hello:raw")
FASTAPI = ("--app-dir", str(APPS), "--factory", "hello:fastapi_app")
ECHO = ("--app-dir", str(APPS), "echo:raw", "--ws-ping-interval", "0")
STREAMS = ("--app-dir", str(APPS), "streams:raw")
