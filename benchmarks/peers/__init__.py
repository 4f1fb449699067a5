"""Other ways to serve Python functions over HTTP, each in an environment of its own."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.home import APPS, Home
from benchmarks.model import MeasurementError
from benchmarks.processes import checked
from portico.images.uv import find_uv

PEERS_FOLDER = Path(__file__).parent


@dataclass(frozen=True)
class Peer:
    """A server of one worker or replica that answers ``{"hello": "world"}``.

    `command` gets the folder of its environment's programs, a folder for its files and its port. It is asked at `path`,
    with POST where it has a `body`.
    """

    name: str
    requirements: Sequence[str]
    command: Callable[[Path, Path, int], Sequence[str | Path]]
    path: str = "/"
    body: str = ""
    ended_by: signal.Signals = signal.SIGTERM
    environ: Mapping[str, str] = field(default_factory=dict)


def _ray(programs: Path, folder: Path, port: int) -> Sequence[str | Path]:
    return [programs / "python", PEERS_FOLDER / "ray_serve.py", folder, str(port)]


def _bentoml(programs: Path, folder: Path, port: int) -> Sequence[str | Path]:
    where = ("--host", "127.0.0.1", "--port", str(port), "--working-dir", PEERS_FOLDER)
    return [programs / "bentoml", "serve", "bento:Hello", *where]


def _litserve(programs: Path, folder: Path, port: int) -> Sequence[str | Path]:
    return [programs / "python", PEERS_FOLDER / "lit.py", str(port)]


def _gunicorn(programs: Path, folder: Path, port: int) -> Sequence[str | Path]:
    options = (
        *("--chdir", APPS, "--workers", "1", "--worker-class", "uvicorn_worker.UvicornWorker"),
        *("--bind", f"127.0.0.1:{port}", "--log-level", "warning", "--keep-alive", "3600"),
    )
    return [programs / "gunicorn", "hello:fastapi_app()", *options]


PEERS = (
    Peer(
        "Ray Serve 2.60.0",
        ("ray[serve]==2.60.0",),
        _ray,
        ended_by=signal.SIGINT,  # SIGTERM ends it before it has ended its cluster
        environ={"RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0"},
    ),
    Peer(
        "BentoML 1.4.40",
        ("bentoml==1.4.40",),
        _bentoml,
        path="/hello",
        body="{}",
        environ={"BENTOML_DO_NOT_TRACK": "True"},
    ),
    Peer("LitServe 0.2.19", ("litserve==0.2.19",), _litserve, path="/predict", body="{}"),
    Peer(
        "gunicorn 27.0.1, uvicorn worker",
        ("gunicorn==27.0.1", "uvicorn-worker==0.4.0", "uvicorn[standard]", "fastapi"),
        _gunicorn,
    ),
)


def install(peer: Peer, home: Home) -> Path:
    """An environment with a peer; the folder of its programs. Raises `MeasurementError`."""
    folder = home.folder / "environments" / peer.name.partition(" ")[0]
    programs = folder / "bin"
    uv = find_uv()
    commands: Sequence[Sequence[str | Path]] = (
        [uv, "venv", "--quiet", "--python", sys.executable, folder],
        [uv, "pip", "install", "--quiet", "--python", programs / "python", *peer.requirements],
    )
    for command in commands:
        checked(command, env=home.environ, cwd=home.folder)
    if not (programs / "python").exists():
        raise MeasurementError(f"the environment has no {programs.name} folder")
    return programs
