"""Image recipes, written step by step; nothing is built or read before the app is served or deployed."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Union

from portico import image_steps as steps
from portico.exception import InvalidError
from portico.file_pattern_matcher import DEFAULT_IGNORE, Ignore
from portico.image_steps import PathLike, flat
from portico.locality import is_local
from portico.wire import image as wire

if TYPE_CHECKING:
    from typing_extensions import Self

    from portico.blobs import BlobSet

Lazy = Callable[["BlobSet"], Union[wire.Base, wire.Step]]
"""Reads local files when the manifest is made, and returns the finished step."""


class Image:
    """The software a container has: a base and steps upon it. Each method returns a new image."""

    def __init__(self, base: wire.Base | Lazy, parent: Image | None = None) -> None:
        self._base = base
        self._parent = parent
        self._steps: tuple[wire.Step | Lazy, ...] = parent._steps if parent else ()
        self._import_errors: list[ImportError] = []

    @classmethod
    def debian_slim(cls, python_version: str | float | None = None) -> Self:
        """The default base with Python `python_version` (``"3.12"``); by default the server's own."""
        return cls(wire.DebianSlim(python_version=steps.python_version(python_version)))

    @classmethod
    def from_registry(
        cls,
        tag: str,
        *,
        setup_dockerfile_commands: Sequence[str] = (),
        add_python: str | None = None,
    ) -> Self:
        """An image of a container registry (docker sandbox only); `add_python` installs that version in it."""
        return cls(
            wire.Registry(
                tag=tag,
                add_python=add_python,
                setup_dockerfile_commands=flat("from_registry", (setup_dockerfile_commands,)),
            )
        )

    @classmethod
    def from_dockerfile(
        cls,
        path: PathLike,
        *,
        context_dir: PathLike | None = None,
        add_python: str | None = None,
        ignore: Ignore = DEFAULT_IGNORE,
    ) -> Self:
        """The image a Dockerfile describes (docker sandbox only), built in `context_dir` (the working folder)."""
        return cls(steps.dockerfile(path, context_dir or ".", add_python, ignore))

    def pip_install(
        self,
        *packages: str | Sequence[str],
        find_links: str | None = None,
        index_url: str | None = None,
        extra_index_url: str | None = None,
        pre: bool = False,
        extra_options: str = "",
    ) -> Self:
        """Install packages, each a requirement such as ``"fastapi[standard]==0.115.*"``."""
        return self._with(
            wire.PipInstall(
                packages=flat("pip_install", packages),
                index_url=index_url,
                extra_index_url=extra_index_url,
                find_links=find_links,
                pre=pre,
                extra_options=extra_options,
            )
        )

    def uv_pip_install(
        self,
        *packages: str | Sequence[str],
        requirements: Sequence[str] | None = None,
        find_links: str | None = None,
        index_url: str | None = None,
        extra_index_url: str | None = None,
        pre: bool = False,
        extra_options: str = "",
    ) -> Self:
        """Like `pip_install`, which also installs with uv; `requirements` names requirements files."""
        names = flat("uv_pip_install", packages)
        if isinstance(requirements, str):
            raise InvalidError(f"requirements is a list: write requirements=[{requirements!r}]")
        pip = wire.PipInstall(
            packages=names,
            index_url=index_url,
            extra_index_url=extra_index_url,
            find_links=find_links,
            pre=pre,
            extra_options=extra_options,
        )
        return self._with(steps.requirements(requirements, pip) if requirements else pip)

    def pip_install_from_requirements(
        self,
        requirements_txt: PathLike,
        find_links: str | None = None,
        *,
        index_url: str | None = None,
        extra_index_url: str | None = None,
        pre: bool = False,
        extra_options: str = "",
    ) -> Self:
        """Install what a local requirements file lists."""
        pip = wire.PipInstall(
            index_url=index_url,
            extra_index_url=extra_index_url,
            find_links=find_links,
            pre=pre,
            extra_options=extra_options,
        )
        return self._with(steps.requirements([requirements_txt], pip))

    def pip_install_from_pyproject(
        self,
        pyproject_toml: PathLike,
        optional_dependencies: Iterable[str] = (),
        *,
        find_links: str | None = None,
        index_url: str | None = None,
        extra_index_url: str | None = None,
        pre: bool = False,
        extra_options: str = "",
    ) -> Self:
        """Install the dependencies of a local ``pyproject.toml``, with those of the extras named."""
        pip = wire.PipInstall(
            index_url=index_url,
            extra_index_url=extra_index_url,
            find_links=find_links,
            pre=pre,
            extra_options=extra_options,
        )
        return self._with(steps.pyproject(pyproject_toml, list(optional_dependencies), pip))

    def apt_install(self, *packages: str | Sequence[str]) -> Self:
        """Install Debian packages (docker sandbox only)."""
        return self._with(wire.AptInstall(packages=flat("apt_install", packages)))

    def run_commands(self, *commands: str | Sequence[str]) -> Self:
        """Run shell commands while the image is built (docker sandbox only)."""
        return self._with(wire.RunCommands(commands=flat("run_commands", commands)))

    def dockerfile_commands(
        self,
        *commands: str | Sequence[str],
        context_dir: PathLike | None = None,
        ignore: Ignore = DEFAULT_IGNORE,
    ) -> Self:
        """Add raw Dockerfile lines (docker sandbox only); ``COPY`` finds the files of `context_dir`."""
        lines = flat("dockerfile_commands", commands)
        if context_dir is None:
            return self._with(wire.DockerfileCommands(commands=lines))
        return self._with(steps.dockerfile_commands(lines, context_dir, ignore))

    def env(self, vars: dict[str, str]) -> Self:
        """Set environment variables, for containers and for later steps."""
        return self._with(steps.env(vars))

    def workdir(self, path: PathLike) -> Self:
        """Set the working folder of containers."""
        return self._with(wire.Workdir(path=os.fspath(path)))

    def entrypoint(self, entrypoint_commands: list[str]) -> Self:
        """Set the image's entrypoint (docker sandbox only)."""
        return self._with(wire.Entrypoint(command=flat("entrypoint", (entrypoint_commands,))))

    def cmd(self, cmd: list[str]) -> Self:
        """Set the image's default command (docker sandbox only)."""
        return self._with(wire.Cmd(command=flat("cmd", (cmd,))))

    def add_local_file(
        self, local_path: PathLike, remote_path: PathLike, *, copy: bool = False
    ) -> Self:
        """Put a local file into containers; a `remote_path` that ends in ``/`` is the folder it goes to.

        With ``copy=True`` later build steps have it too.
        """
        return self._with(steps.local_file(local_path, os.fspath(remote_path), copy))

    def add_local_dir(
        self,
        local_path: PathLike,
        remote_path: PathLike,
        *,
        copy: bool = False,
        ignore: Ignore = DEFAULT_IGNORE,
    ) -> Self:
        """Put a local folder into containers, without the files that `ignore` matches.

        `ignore` is a list of patterns as in a ``.dockerignore`` file, or a callable that is given each path relative
        to the folder. By default ``__pycache__``, ``.git`` and ``.venv`` stay behind, at any depth.
        """
        place = steps.remote_path(remote_path, "add_local_dir")
        return self._with(steps.local_dir(local_path, place, copy, ignore))

    def add_local_python_source(
        self, *modules: str, copy: bool = False, ignore: Ignore = steps.NOT_PYTHON
    ) -> Self:
        """Put local modules and packages, by their import names, where containers import them.

        Of packages only ``.py`` files travel, unless `ignore` says otherwise.
        """
        for module in modules:
            if not isinstance(module, str):
                raise InvalidError(
                    f"add_local_python_source takes names of modules, not {module!r}"
                )
        return self._with(steps.python_source(modules, copy, ignore))

    @contextmanager
    def imports(self) -> Iterator[None]:
        """Import packages only this image has: ``with image.imports(): import torch``.

        An ImportError inside is ignored on the user's machine and in containers of other images. In this image's
        own containers it is real, and ends the start of the container.
        """
        try:
            yield
        except ImportError as error:
            if not is_local():
                # Which image this container has is known once its function is: `check_imports`.
                self._import_errors.append(error)

    def check_imports(self) -> None:
        """Raise what an `imports` block of this image, or of one it builds on, met in this container."""
        image: Image | None = self
        while image is not None:
            for error in image._import_errors:
                raise error
            image = image._parent

    def spec(self, blobs: BlobSet) -> wire.ImageSpec:
        """The finished recipe; local files are read now, into `blobs`. Raises `InvalidError` for missing ones."""
        base = self._base(blobs) if callable(self._base) else self._base
        done = tuple(step(blobs) if callable(step) else step for step in self._steps)
        return wire.ImageSpec(base=base, steps=done)  # type: ignore[arg-type]

    def _with(self, step: wire.Step | Lazy) -> Self:
        image = type(self)(self._base, self)
        image._steps = (*self._steps, step)
        return image

    def __repr__(self) -> str:
        return f"<Image with {len(self._steps)} step{'s' * (len(self._steps) != 1)}>"
