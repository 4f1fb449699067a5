"""What the process sandbox makes of a recipe: a pure decision, taken before anything is built."""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path, PurePosixPath

from portico.images.base import BuildError
from portico.wire.image import (
    AddFiles,
    AptInstall,
    Cmd,
    DebianSlim,
    Dockerfile,
    DockerfileCommands,
    Entrypoint,
    Env,
    ImageSpec,
    PipInstall,
    Registry,
    RunCommands,
    Workdir,
)

OLDEST_PYTHON = (3, 10)

CONTAINER_HOME = PurePosixPath("/root")

_START_SLIM = "Start from Image.debian_slim(python_version=…), with any Python of the machine, and pip_install"

_REFUSED: dict[type, tuple[str, str]] = {
    Registry: ("Image.from_registry", _START_SLIM),
    Dockerfile: ("Image.from_dockerfile", _START_SLIM),
    AptInstall: (
        "apt_install",
        "Install the packages on the machine yourself and leave the step out, or look for wheels that carry"
        " them (pip_install)",
    ),
    RunCommands: ("run_commands", "Use pip_install, env, add_local_file and add_local_dir"),
    DockerfileCommands: (
        "dockerfile_commands",
        "Use pip_install, env, workdir, add_local_file and add_local_dir",
    ),
    Entrypoint: (
        "entrypoint",
        "Leave it out, and do its work in @enter() or at the top of the script",
    ),
    Cmd: ("cmd", "Leave it out: a container runs its function"),
}
"""Steps that the process sandbox cannot take: their names, and what to do instead."""


def python_version(spec: ImageSpec) -> str:
    """The Python version that `spec` asks for, or this server's own (``"3.12"``)."""
    if isinstance(spec.base, DebianSlim) and spec.base.python_version is not None:
        return spec.base.python_version
    return own_version()


def own_version() -> str:
    """This server's Python, as a recipe would name it (``"3.12"``)."""
    return f"{sys.version_info.major}.{sys.version_info.minor}"


def place(folder: Path, path: str) -> Path | None:
    """Where a recipe's `path` lands when `folder` is the container's own; None where that is outside of it."""
    pure = PurePosixPath(path)
    if pure.is_absolute():
        if not pure.is_relative_to(CONTAINER_HOME):
            return None
        pure = pure.relative_to(CONTAINER_HOME)
    return None if ".." in pure.parts else folder / pure


def refuse(spec: ImageSpec) -> None:
    """Raise `BuildError` for what a process on this machine cannot honour, saying what to use instead."""
    for part in (spec.base, *spec.steps):
        if refused := _REFUSED.get(type(part)):
            name, instead = refused
            raise BuildError(
                f"{name} needs a container with a filesystem of its own, and containers of the process sandbox"
                f" use this machine's: the image cannot be built here.\n{instead}."
            )
    _refuse_python(python_version(spec))
    for step in spec.steps:
        if isinstance(step, AddFiles):
            for file in step.files:
                _refuse_file(file.path)
        elif isinstance(step, Workdir):
            _refuse_workdir(step.path)
        elif isinstance(step, Env):
            _refuse_variables(step.variables)
        elif isinstance(step, PipInstall):
            _refuse_options(step)


def _refuse_python(version: str) -> None:
    if not re.fullmatch(r"\d+\.\d+(\.\d+)?", version):
        raise BuildError(f'python_version={version!r} is not a version: write "3.12" or "3.12.4".')
    major, minor = version.split(".")[:2]
    if (int(major), int(minor)) < OLDEST_PYTHON:
        raise BuildError(
            f"Portico's runner needs Python 3.10 or later in the image, and this one asks for {version}: "
            f'use Image.debian_slim(python_version="{own_version()}").'
        )


def _refuse_file(path: str) -> None:
    if place(Path(), path) is None:
        raise BuildError(
            f"The process sandbox cannot place a file at {path}: files go into the container's own folder. Give"
            " a relative remote path or one under /root (which is that folder)."
        )


def _refuse_workdir(path: str) -> None:
    if place(Path(), path) is None and not Path(path).is_dir():
        raise BuildError(
            f"The process sandbox cannot work in {path}: there is no such folder on this machine. Give a"
            " relative path or one under /root (which is the container's own folder), or create the folder on"
            " the machine."
        )


def _refuse_variables(variables: dict[str, str]) -> None:
    for name, value in variables.items():
        if not name or "=" in name or "\0" in name + value:
            raise BuildError(
                f"{name!r} cannot be an environment variable: names are not empty and hold no '=', and"
                " neither names nor values hold NUL characters. Correct the env step of the image."
            )


def _refuse_options(step: PipInstall) -> None:
    try:
        shlex.split(step.extra_options)
    except ValueError as error:
        raise BuildError(
            f"extra_options={step.extra_options!r} of {describe(step)} cannot be split into options"
            f" ({error}): correct its quotes."
        ) from None


def describe(step: PipInstall) -> str:
    """The step as its author would recognize it, without index URLs, which may carry credentials."""
    named = [*step.packages, *(["requirements"] if step.requirements is not None else [])]
    shown = ", ".join(named[:6]) + (f", … ({len(named)} in all)" if len(named) > 6 else "")
    return f"pip_install({shown})"


def pip_arguments(step: PipInstall, requirements: Path) -> list[str]:
    """Arguments of ``uv pip install`` for `step`; `requirements` is where its requirements text is written.

    Index URLs go by environment (`index_variables`): arguments can be read by every user of the machine.
    """
    arguments = shlex.split(step.extra_options)
    if step.find_links is not None:
        arguments += ["--find-links", step.find_links]
    if step.pre:
        arguments += ["--prerelease", "allow"]
    if step.requirements is not None:
        arguments += ["--requirements", str(requirements)]
    return [*arguments, "--", *step.packages]


def index_variables(step: PipInstall, env: dict[str, str]) -> dict[str, str]:
    """`env` with the indexes of `step`: its `index_url` replaces the default one, `extra_index_url` is added."""
    env = dict(env)
    if step.index_url is not None:
        env.pop("UV_INDEX_URL", None)
        env["UV_DEFAULT_INDEX"] = step.index_url
    if step.extra_index_url is not None:
        extra = [env.get("UV_EXTRA_INDEX_URL", ""), step.extra_index_url]
        env["UV_EXTRA_INDEX_URL"] = " ".join(filter(None, extra))
    return env
