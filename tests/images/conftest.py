"""Real builders over a package cache of their own, and a way to see processes end."""

from __future__ import annotations

import hashlib
import os
import select
from collections.abc import Callable
from pathlib import Path

import pytest

from portico.images.builder import UvBuilder
from portico.wire.image import AddFiles, FileEntry

DEADLINE = 30.0

# An in-tree build backend: no index is asked, and building takes as long as the test wants.
BACKEND = """
import os, sys, time
def build_wheel(directory, settings=None, metadata=None):
    if os.fork() == 0:
        os.setsid()
        with open({pids!r} + ".new", "w") as file:
            file.write(f"{{os.getppid()}} {{os.getpid()}}")
        os.rename({pids!r} + ".new", {pids!r})
        time.sleep(3600)
    time.sleep(3600)
"""


@pytest.fixture(scope="session")
def build_environ(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """This process's environment with a uv cache for this session."""
    return {**os.environ, "UV_CACHE_DIR": str(tmp_path_factory.mktemp("uv-cache"))}


@pytest.fixture(scope="session")
def shared_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of images for tests that do not look at how builds begin."""
    return tmp_path_factory.mktemp("images")


@pytest.fixture
def builder(shared_root: Path, build_environ: dict[str, str]) -> UvBuilder:
    return UvBuilder(shared_root, environ=build_environ)


class Blobs:
    """Content-addressed files, as the control side keeps them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(self, sha256: str) -> Path:
        return self.folder / sha256

    def add(self, path: str, text: str) -> FileEntry:
        digest = hashlib.sha256(text.encode()).hexdigest()
        (self.folder / digest).write_text(text)
        return FileEntry(path=path, sha256=digest, size=len(text))


@pytest.fixture
def blobs(tmp_path: Path) -> Blobs:
    folder = tmp_path / "blobs"
    folder.mkdir()
    return Blobs(folder)


@pytest.fixture
def endless(blobs: Blobs, tmp_path: Path) -> tuple[AddFiles, Path]:
    """A package whose build never ends, and the file that two of its processes' ids are in once it runs.

    The second one has left its process group and session.
    """
    pids = tmp_path / "pids"
    project = (
        '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
        '[project]\nname = "endless"\nversion = "1"\n'
    )
    return (
        AddFiles(
            files=(
                blobs.add("/root/endless/pyproject.toml", project),
                blobs.add("/root/endless/backend.py", BACKEND.format(pids=str(pids))),
            ),
            copy=True,
        ),
        pids,
    )


@pytest.fixture
def watch() -> Callable[[int], Callable[[], bool]]:
    """`gone = watch(pid)`, while the process lives: then `gone()` waits for its end, False after a deadline."""
    if not hasattr(os, "pidfd_open"):
        pytest.skip("needs pidfd_open (Linux)")

    def watch_pid(pid: int) -> Callable[[], bool]:
        descriptor = os.pidfd_open(pid)

        def gone() -> bool:
            try:
                return bool(select.select([descriptor], [], [], DEADLINE)[0])
            finally:
                os.close(descriptor)

        return gone

    return watch_pid
