"""Image steps that read local files, as functions that do so when the manifest is made."""

from __future__ import annotations

import os
import posixpath
import re
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar, Union

import msgspec

from portico.checks import text, variables
from portico.exception import InvalidError
from portico.file_pattern_matcher import FilePatternMatcher, Ignore
from portico.wire import image as wire

if TYPE_CHECKING:
    from pathlib import Path

    from portico.blobs import BlobSet

S = TypeVar("S")
Step = Callable[["BlobSet"], S]
PathLike = Union[str, "os.PathLike[str]"]

NOT_PYTHON = ~FilePatternMatcher("**/*.py")
VERSION = re.compile(r"3\.\d+(\.\d+)?")
INCLUDE = re.compile(r"^\s*(?:-r|--requirement)[ =]\s*(?P<file>\S+)\s*(?:#.*)?$")
LOCAL_ONLY = re.compile(r"^\s*(?:-c|--constraint|-e|--editable|\.{1,2}/|file:)\s*(?P<rest>.*)$")


def flat(step: str, values: Sequence[Any]) -> tuple[str, ...]:
    """Strings and lists of strings as one tuple. Raises `InvalidError` for anything else."""
    found: list[str] = []
    for value in values:
        if isinstance(value, str):
            found.append(value)
        elif isinstance(value, (list, tuple)) and all(isinstance(item, str) for item in value):
            found.extend(value)
        else:
            raise InvalidError(f"{step} takes strings or lists of strings, not {value!r}")
    return tuple(found)


def python_version(version: str | float | None) -> str | None:
    """`version` checked, as text."""
    if version is None:
        return None
    if isinstance(version, float):
        raise InvalidError(
            f"write python_version as text, so that 3.10 is not 3.1: python_version='{version}'"
        )
    if not VERSION.fullmatch(text("python_version", version)):
        raise InvalidError(f"python_version {version!r} is none; write it like '3.12' or '3.12.4'")
    return version


def env(given: dict[str, str]) -> wire.Env:
    """The ``env`` step, checked."""
    return wire.Env(variables=variables("Image.env", given))


def requirements(files: Sequence[PathLike], pip: wire.PipInstall) -> Step[wire.PipInstall]:
    """`pip` with the text of `files`."""

    def read(blobs: BlobSet) -> wire.PipInstall:
        lines = "\n".join(_requirement_lines(_path(file)) for file in files)
        return msgspec.structs.replace(pip, requirements=lines)

    return read


def pyproject(file: PathLike, extras: list[str], pip: wire.PipInstall) -> Step[wire.PipInstall]:
    """`pip` with the dependencies of the project at `file`."""

    def read(blobs: BlobSet) -> wire.PipInstall:
        import tomllib  # manifests are made on 3.11 or later; containers only import this module

        try:
            project = tomllib.loads(_text(_path(file))).get("project", {})
        except tomllib.TOMLDecodeError as error:
            raise InvalidError(f"{file} is not TOML: {error}") from error
        if "dependencies" not in project and not extras:
            raise InvalidError(
                f"{file} has no [project] dependencies; list them there, or use pip_install"
            )
        packages = list(project.get("dependencies", ()))
        offered = project.get("optional-dependencies", {})
        for extra in extras:
            if extra not in offered:
                known = ", ".join(offered) or "none"
                raise InvalidError(
                    f"{file} has no optional dependencies {extra!r}; it has: {known}"
                )
            packages += offered[extra]
        return msgspec.structs.replace(pip, packages=tuple(packages))

    return read


def local_file(path: PathLike, remote: str, copy: bool) -> Step[wire.AddFiles]:
    """One file."""
    name = os.path.basename(path) if remote.endswith("/") else ""
    place = remote_path(f"{remote}{name}", "add_local_file")

    def read(blobs: BlobSet) -> wire.AddFiles:
        local = _path(path)
        if local.is_dir():
            raise InvalidError(f"{local} is a folder; use add_local_dir")
        if not local.is_file():
            raise InvalidError(
                f"there is no file {local} (paths are relative to {os.getcwd()}); create it or correct the path"
            )
        return wire.AddFiles(files=(blobs.add_file(local, place),), copy=copy)

    return read


def local_dir(path: PathLike, remote: str, copy: bool, ignore: Ignore) -> Step[wire.AddFiles]:
    """A folder."""
    return lambda blobs: wire.AddFiles(
        files=tuple(blobs.add_folder(_path(path), remote, ignore)), copy=copy
    )


def python_source(modules: Sequence[str], copy: bool, ignore: Ignore) -> Step[wire.AddFiles]:
    """Modules and packages by import name."""

    def read(blobs: BlobSet) -> wire.AddFiles:
        files: list[wire.FileEntry] = []
        for module in modules:
            place = module.replace(".", "/")
            for origin in _origins(module):
                if origin.is_dir():
                    files += blobs.add_folder(origin, place, ignore)
                else:
                    files.append(blobs.add_file(origin, f"{place}{origin.suffix}"))
        return wire.AddFiles(files=tuple(files), copy=copy)

    return read


def dockerfile(
    path: PathLike, context: PathLike, add_python: str | None, ignore: Ignore
) -> Step[wire.Dockerfile]:
    """The base a Dockerfile describes, with the context its ``COPY`` lines need."""

    def read(blobs: BlobSet) -> wire.Dockerfile:
        recipe = _text(_path(path))
        files = _context(recipe.splitlines(), context, ignore, blobs)
        return wire.Dockerfile(text=recipe, context=files, add_python=add_python)

    return read


def dockerfile_commands(
    lines: tuple[str, ...], context: PathLike, ignore: Ignore
) -> Step[wire.DockerfileCommands]:
    """Raw lines with their context."""
    return lambda blobs: wire.DockerfileCommands(
        commands=lines, context=_context(lines, context, ignore, blobs)
    )


def remote_path(path: PathLike, what: str) -> str:
    """`path` in its plain POSIX form. Raises `InvalidError` for one that leaves its folder."""
    given = os.fspath(path)
    plain = posixpath.normpath(given)
    if ".." in given.split("/") or plain in (".", "/"):
        raise InvalidError(
            f"{what}: {given!r} cannot be a place in a container; use a path like '/root/data' without '..'"
        )
    return plain


def _path(path: PathLike) -> Path:
    # Loaded when files are: declaring an image must not cost what pathlib does.
    from pathlib import Path

    return Path(path)


def _context(
    lines: Sequence[str], folder: PathLike, ignore: Ignore, blobs: BlobSet
) -> tuple[wire.FileEntry, ...]:
    copies = any(line.lstrip().upper().startswith(("COPY ", "ADD ")) for line in lines)
    return tuple(blobs.add_folder(_path(folder), "", ignore)) if copies else ()


def _origins(module: str) -> list[Path]:
    from importlib.util import find_spec

    # A script's helpers lie beside it, and its folder is first in sys.path already.
    if module in sys.modules and getattr(sys.modules[module], "__spec__", None) is None:
        spec = None
    else:
        try:
            spec = find_spec(module)
        except ModuleNotFoundError:
            spec = None
    if spec is None:
        raise InvalidError(
            f"there is no local module {module!r} to add; run from the folder it is in, or set PYTHONPATH"
        )
    if spec.submodule_search_locations:
        return [_path(folder) for folder in spec.submodule_search_locations]
    if spec.origin is None or not spec.origin.endswith(".py"):
        raise InvalidError(f"module {module!r} is no Python source; install it with pip_install")
    return [_path(spec.origin)]


def _requirement_lines(file: Path) -> str:
    lines: list[str] = []
    for line in _text(file).splitlines():
        if include := INCLUDE.match(line):
            lines.append(_requirement_lines(file.parent / include["file"]))
        elif LOCAL_ONLY.match(line):
            raise InvalidError(
                f"{file} has {line.strip()!r}, which points at this machine; put the version bounds into the "
                "file, and add local packages with add_local_python_source"
            )
        else:
            lines.append(line)
    return "\n".join(lines)


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise InvalidError(
            f"there is no file {file} (paths are relative to {os.getcwd()}); create it or "
            "correct the path"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidError(f"cannot read {file}: {error}") from error
