"""Which of the user's files travel with an app: its modules, and every first-party module they import."""

from __future__ import annotations

import os
import site
import sys
import sysconfig
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

from portico.blobs import walk
from portico.exception import InvalidError
from portico.imports import imported_names

OWN_PACKAGES = ("portico", "modal")
OTHERS = ("site-packages", "dist-packages")
NOT_SOURCE = ("**/__pycache__", "**/.*", "**/node_modules", "**/site-packages")


class SourceFile(NamedTuple):
    """A local file and its place below the folder containers import from."""

    local: Path
    path: str


def collect(
    names: Iterable[str], modules: Mapping[str, ModuleType] | None = None
) -> list[SourceFile]:
    """The source of the modules `names` and of the first-party modules imported with them, sorted by place.

    First-party is what lies below the root folder of those modules, outside of the interpreter, of virtual
    environments and of site-packages. From a package all of its ``.py`` files travel, of a namespace package those
    that were imported. Imports written inside functions count, although they have not run.
    """
    loaded = dict(sys.modules if modules is None else modules)
    found: dict[str, Path] = {}
    roots: dict[Path, None] = {}
    for name in names:
        file = _file_of(name, loaded)
        root = root_of(name, file)
        roots[root] = None
        found.update(_files(name, file, root))
    foreign = _foreign_folders()
    for root in roots:
        for name, module in loaded.items():
            place = _source_file(module)
            if place is not None and _travels(name, place, root, foreign):
                found.update(_files(name, place, root))
        found.update(_lazily_imported(found, root, foreign))
    return [SourceFile(local, path) for path, local in sorted(found.items())]


def root_of(name: str, file: Path) -> Path:
    """The folder that must be in ``sys.path`` for `file` to be importable as `name`."""
    levels = name.count(".") + (file.name == "__init__.py")
    return file.parents[levels]


def _file_of(name: str, loaded: Mapping[str, ModuleType]) -> Path:
    # What runs as __main__ here has the name of its file in containers.
    module = loaded.get(name) or loaded.get("__main__")
    file = _source_file(module) if module is not None else None
    if file is None:
        raise InvalidError(
            f"module {name!r} has no source file to send; put it into a file, or say serialized=True"
        )
    return file


def _source_file(module: ModuleType) -> Path | None:
    file = getattr(module, "__file__", None)
    if not isinstance(file, str) or not file.endswith(".py"):
        return None
    return Path(os.path.abspath(file))


def _files(name: str, file: Path, root: Path) -> Iterator[tuple[str, Path]]:
    top = root / name.partition(".")[0]
    if not (top / "__init__.py").is_file():
        yield file.relative_to(root).as_posix(), file
        return
    for relative in walk(top, NOT_SOURCE):
        if relative.suffix == ".py":
            yield f"{top.name}/{relative.as_posix()}", top / relative


def _travels(name: str, file: Path, root: Path, foreign: tuple[Path, ...]) -> bool:
    if name == "__main__" or name.partition(".")[0] in OWN_PACKAGES:
        return False
    return _is_first_party(file, root, foreign) and _is_place_of(name, file, root)


def _is_place_of(name: str, file: Path, root: Path) -> bool:
    # A folder inside the root may be in sys.path as well; its modules are not importable from the root.
    place = root.joinpath(*name.split("."))
    return file in (place.with_suffix(".py"), place / "__init__.py")


def _is_first_party(file: Path, root: Path, foreign: tuple[Path, ...]) -> bool:
    if not file.is_relative_to(root):
        return False
    inside = file.relative_to(root).parts
    if any(part in OTHERS for part in inside):
        return False
    return not any(file.is_relative_to(folder) for folder in foreign if folder.is_relative_to(root))


def _foreign_folders() -> tuple[Path, ...]:
    paths = sysconfig.get_paths()
    folders = [paths[key] for key in ("stdlib", "platstdlib", "purelib", "platlib")]
    folders += [sys.prefix, site.getusersitepackages()]
    return tuple(Path(folder) for folder in folders)


def _lazily_imported(
    found: Mapping[str, Path], root: Path, foreign: tuple[Path, ...]
) -> dict[str, Path]:
    seen = dict(found)
    waiting = list(found.items())
    while waiting:
        path, file = waiting.pop()
        for name in imported_names(file, _package_of(path)):
            if name.partition(".")[0] in OWN_PACKAGES:
                continue
            base = root.joinpath(*name.split("."))
            for candidate in (base / "__init__.py", base.with_suffix(".py")):
                if not candidate.is_file() or not _is_first_party(candidate, root, foreign):
                    continue
                for new in _files(name, candidate, root):
                    if new[0] not in seen:
                        seen[new[0]] = new[1]
                        waiting.append(new)
    return seen


def _package_of(path: str) -> str:
    return ".".join(Path(path).parts[:-1])
