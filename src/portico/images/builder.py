"""Images for the process sandbox: one environment per recipe, made by uv."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import ParamSpec

from portico.images import interpreters
from portico.images.base import BuildError, BuildLogSink
from portico.images.disk import explain_full, is_full
from portico.images.folder import BuildFolder
from portico.images.log import BuildLog
from portico.images.process import build_environment
from portico.images.recipe import (
    describe,
    index_variables,
    pip_arguments,
    place,
    python_version,
    refuse,
)
from portico.images.runner_layer import RunnerLayer
from portico.images.sharing import SharedBuilds
from portico.images.uv import Uv
from portico.wire.image import (
    RUNNER_PATH,
    AddFiles,
    Env,
    ImageEnvironment,
    ImageSpec,
    PipInstall,
    Workdir,
)

P = ParamSpec("P")

PATHS = "runner.pth"
PATHS_LINE = (
    "import os, sys; sys.path += filter(None, "
    f"os.environ.get({RUNNER_PATH!r}, '').split(os.pathsep))\n"
)
"""What every interpreter of an environment does at its start: a program that a container starts finds Portico, too,
behind all that the image has (site(3), path configuration files)."""

Blobs = Callable[[str], Path]
"""The file that holds the content of a SHA-256 (hex)."""


class UvBuilder:
    """The process sandbox's `ImageBuilder`: environments under `root`, which several servers may share.

    ``root/<image id>/<python version>/`` holds one environment with its log and marker; the version is part
    of the path because a recipe that names none means the server's own, which may change under a state
    folder. ``root/runner/`` holds what containers need besides, see `RunnerLayer`.

    `blobs` finds the files of ``add_local_*(copy=True)``, which are there while the later steps run; without
    it such recipes fail. `environ`, by default this process's own environment, is where builds take proxies,
    certificates and uv's settings from, and nothing else.
    """

    def __init__(
        self, root: Path, *, blobs: Blobs | None = None, environ: Mapping[str, str] | None = None
    ) -> None:
        self._root = root.absolute()
        self._blobs = blobs
        self._environ = os.environ if environ is None else environ
        self._runner = RunnerLayer(self._root / "runner")
        self._builds = SharedBuilds()

    def cached(self, spec: ImageSpec) -> ImageEnvironment | None:
        """The environment of an earlier build, found by a handful of file look-ups."""
        try:
            refuse(spec)
        except BuildError:
            return None
        folder = self._folder(spec)
        if not folder.valid():
            return None
        layer = self._runner.cached(_tag(folder))
        return None if layer is None else _environment(spec, folder, layer)

    async def build(self, spec: ImageSpec, log: BuildLogSink) -> ImageEnvironment:
        """Build `spec`, join the build of it that is under way, or return the cached environment at once."""
        refuse(spec)
        if found := self.cached(spec):
            return found
        key = f"{spec.image_id}/{python_version(spec)}"
        return await self._builds.join(key, lambda shared: self._make(spec, shared), log)

    async def close(self) -> None:
        """End builds under way; returns when every process of theirs is gone."""
        await self._builds.close()

    def _folder(self, spec: ImageSpec) -> BuildFolder:
        path = self._root / spec.image_id / python_version(spec)
        return BuildFolder(path, needs=("env/bin/python", PATHS))

    async def _make(self, spec: ImageSpec, log: BuildLog) -> ImageEnvironment:
        folder = self._folder(spec)
        try:
            await folder.build_once(log, lambda lock: self._install(spec, folder, log, lock))
            layer = await self._runner.make(
                _tag(folder), _python(folder), build_environment(self._environ), log
            )
        except OSError as error:
            why = explain_full(self._root) if is_full(error) else str(error)
            raise BuildError(f"The image could not be built: {why}", log.tail()) from error
        return _environment(spec, folder, layer)

    async def _install(
        self, spec: ImageSpec, folder: BuildFolder, log: BuildLog, lock: int
    ) -> None:
        env = build_environment(self._environ)
        context = folder.content / "context"
        context.mkdir(parents=True)
        uv = Uv(log=log, lock=lock, root=self._root)
        await uv.venv(folder.content / "env", await self._interpreter(spec, uv, env), env)
        _add_paths(folder)
        workdir = context
        for number, step in enumerate(spec.steps):
            if isinstance(step, Env):
                env = build_environment(self._environ, {**env, **step.variables})
            elif isinstance(step, Workdir):
                workdir = _make_workdir(context, step)
            elif isinstance(step, AddFiles) and step.copy:
                await _to_the_end(self._copy, step, context)
            elif isinstance(step, PipInstall):
                requirements = folder.content / f"requirements-{number}.txt"
                requirements.write_text(step.requirements or "", "utf-8")
                await uv.pip_install(
                    describe(step),
                    pip_arguments(step, requirements),
                    _python(folder),
                    index_variables(step, env),
                    workdir,
                )

    async def _interpreter(self, spec: ImageSpec, uv: Uv, env: Mapping[str, str]) -> str:
        version = python_version(spec)
        if interpreters.is_own(version):
            return interpreters.own_interpreter()
        searched = {**env, "PATH": interpreters.search_path(env)}
        return interpreters.choose(version, await uv.pythons(searched))

    def _copy(self, step: AddFiles, context: Path) -> None:
        for file in step.files:
            source = self._blobs(file.sha256) if self._blobs else None
            target = place(context, file.path)
            if source is None or target is None or not source.is_file():
                raise BuildError(
                    f"The content of {file.path} (copy=True) is not on this server: deploy again to upload it."
                )
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)
            target.chmod(0o755 if file.executable else 0o644)


async def _to_the_end(function: Callable[P, None], *args: P.args, **kwargs: P.kwargs) -> None:
    """Run `function` in a thread, also through a cancellation: none may write once the folder's lock is free."""
    work = asyncio.ensure_future(asyncio.to_thread(function, *args, **kwargs))
    try:
        await asyncio.shield(work)
    except asyncio.CancelledError:
        await work
        raise


def _make_workdir(context: Path, step: Workdir) -> Path:
    workdir = place(context, step.path) or Path(step.path)
    workdir.mkdir(parents=True, exist_ok=True)
    return workdir


def _python(folder: BuildFolder) -> Path:
    return folder.content / "env" / "bin" / "python"


def _tag(folder: BuildFolder) -> str:
    """Name of the environment's library folder: what extension modules are built for (``python3.13``)."""
    return next((folder.content / "env" / "lib").glob("python3*")).name


def _add_paths(folder: BuildFolder) -> None:
    paths = folder.content / PATHS
    paths.write_text(PATHS_LINE)
    (folder.content / "env" / "lib" / _tag(folder) / "site-packages" / PATHS).symlink_to(paths)


def _environment(spec: ImageSpec, folder: BuildFolder, layer: tuple[str, ...]) -> ImageEnvironment:
    return ImageEnvironment(image_id=spec.image_id, python=str(_python(folder)), runner_path=layer)
