"""The folder that one suite's run leaves nothing of: Portico's state, sockets, logs."""

from __future__ import annotations

import contextlib
import json
import signal
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmarks.model import MeasurementError
from benchmarks.processes import Background, background, checked, clean_environ

APPS = Path(__file__).with_name("apps")
PORTICO = (sys.executable, "-P", "-m", "portico")


@dataclass(frozen=True)
class Home:
    """`environ` makes every Portico command use this folder; `python` is the image's interpreter."""

    folder: Path
    environ: Mapping[str, str]
    python: Path

    @contextlib.contextmanager
    def server(self) -> Iterator[Background]:
        """A server of this home, without limits on the rate of requests."""
        command = [*PORTICO, "server", "run"]
        folder = self.folder / "server"
        with background(command, folder=folder, env=self.environ) as process:
            process.wait_for(lambda: "ready" in process.output or None, "`ready`")
            yield process

    def deploy(self, script: str) -> dict[str, str]:
        """Deploy a script of `APPS`; the loopback-port URL of each of its web functions."""
        answer = checked([*PORTICO, "deploy", APPS / script, "--json"], env=self.environ, cwd=APPS)
        return {one["name"]: one["urls"][-1] for one in json.loads(answer)["functions"]}

    @contextlib.contextmanager
    def serve(self, script: Path, name: str) -> Iterator[Background]:
        """``portico serve`` as it starts; its files are in the folder `name`."""
        command: list[str | Path] = [*PORTICO, "serve", script]
        folder = self.folder / name
        with background(
            command, folder=folder, env=self.environ, ended_by=signal.SIGINT
        ) as process:
            yield process


@contextlib.contextmanager
def new_home() -> Iterator[Home]:
    """A home in a temporary folder, with the image of all benchmarks built and its environment used once."""
    with tempfile.TemporaryDirectory(prefix="portico-bench-") as name:
        folder = Path(name)
        environ = clean_environ(
            PORTICO_STATE_DIR=str(folder / "state"),
            PORTICO_CONFIG=str(folder / "config.toml"),
            PORTICO_WEB="127.0.0.1:0",
            PORTICO_API="127.0.0.1:0",
            PORTICO_RATE_LIMIT="none",
        )
        said = checked([*PORTICO, "run", APPS / "interpreter.py"], env=environ, cwd=APPS)
        python = Path(said.strip())
        if not python.is_file():
            raise MeasurementError(f"the image has no interpreter at {python}")
        yield Home(folder, environ, python)
