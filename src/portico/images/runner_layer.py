"""What the runner needs in every container, kept apart from what users install."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

from portico.images.folder import BuildFolder
from portico.images.log import BuildLog
from portico.images.uv import Uv

_PACKAGE = Path(__file__).resolve().parent.parent
_REQUIREMENTS = Path(__file__).with_name("runner-requirements.txt")
_ALIAS = """import sys

import portico
from portico.modal_alias import install

install()
sys.modules[__name__] = portico
"""


class RunnerLayer:
    """Folders that containers append to ``sys.path``, behind the image's own, so that the user's versions win.

    ``root/<python tag>-<digest>/`` holds the runner's requirements, once for every image of that Python;
    ``root/portico-<digest>/`` holds a link to this installation of Portico, ``modal`` as its other name, and
    nothing of what lies beside it.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._digest = hashlib.sha256(_REQUIREMENTS.read_bytes()).hexdigest()[:12]
        self._home = root / f"portico-{hashlib.sha256(os.fsencode(_PACKAGE)).hexdigest()[:12]}"

    def cached(self, tag: str) -> tuple[str, ...] | None:
        """The folders for Pythons of `tag` (``python3.13``), if they were made before."""
        folder = self._folder(tag)
        if not folder.valid() or not self._linked():
            return None
        return (str(folder.content), str(self._home))

    async def make(
        self, tag: str, python: Path, env: Mapping[str, str], log: BuildLog
    ) -> tuple[str, ...]:
        """The folders for Pythons of `tag`, made with the interpreter at `python` where needed.

        Raises `BuildError`, OSError.
        """
        folder = self._folder(tag)
        if not folder.valid():
            await folder.build_once(log, lambda lock: self._install(folder, python, env, log, lock))
        self._link()
        return (str(folder.content), str(self._home))

    def _folder(self, tag: str) -> BuildFolder:
        return BuildFolder(self._root / f"{tag}-{self._digest}", needs=("uvicorn",))

    async def _install(
        self, folder: BuildFolder, python: Path, env: Mapping[str, str], log: BuildLog, lock: int
    ) -> None:
        uv = Uv(log=log, lock=lock, root=self._root)
        arguments = ["--target", str(folder.content), "--requirements", str(_REQUIREMENTS)]
        await uv.pip_install("installing Portico's runner", arguments, python, env, self._root)

    def _link(self) -> None:
        if self._linked():
            return
        self._home.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Another server may do the same right now: a rename replaces, where a bare symlink would fail.
        with tempfile.TemporaryDirectory(dir=self._home) as scratch:
            package, alias = Path(scratch, "portico"), Path(scratch, "modal.py")
            package.symlink_to(_PACKAGE)
            alias.write_text(_ALIAS)
            for new in (package, alias):
                new.replace(self._home / new.name)

    def _linked(self) -> bool:
        return (self._home / "portico").exists() and (self._home / "modal.py").exists()
