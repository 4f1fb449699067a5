"""Importing the user's script in this process, and everything about it that the CLI needs."""

from __future__ import annotations

import importlib.machinery
import sys
import sysconfig
import traceback
from pathlib import Path

from portico import exception
from portico.cli.messages import Answer, Load, Loaded, LoadFailed
from portico.cli.traces import is_user_file, user_location, user_traceback
from portico.loading import find_app, load_script, parse_reference
from portico.manifest import build_manifest
from portico.source import collect
from portico.wire.manifest import AppManifest

FRAMEWORKS = ("fastapi", "pydantic", "starlette")
"""What a warm loader may import ahead: slow to import, and free of user code."""


def load_app(load: Load) -> Answer:
    """Import the script and describe its app, or say why that failed."""
    keep_bytecode_of_libraries_only()
    try:
        return describe(load)
    except exception.Error as error:
        where = user_location(error)
        return LoadFailed(
            number=load.number,
            kind="mistake",
            message=f"{error}\nAt {where}." if where else str(error),
            files=suspects(load.target, error),
        )
    except (Exception, SystemExit) as error:
        # `SystemExit` too: a script that exits while it is imported has no app to serve.
        return LoadFailed(
            number=load.number,
            kind="user",
            message=f"{script_path(load.target).name} could not be imported",
            traceback=user_traceback(error),
            files=suspects(load.target, error),
        )
    finally:
        sys.stdout.flush()
        sys.stderr.flush()


def describe(load: Load) -> Loaded:
    """Import the script and build its manifest."""
    path, name = parse_reference(load.target)
    manifest, blobs = build_manifest(find_app(load_script(path), name))
    files = {digest: str(blob) for digest, blob in blobs.items() if not isinstance(blob, bytes)}
    return Loaded(
        number=load.number,
        manifest=manifest,
        files=files,
        values={digest: blob for digest, blob in blobs.items() if isinstance(blob, bytes)},
        watched={**{path: digest for digest, path in files.items()}, **_sources(manifest)},
        frameworks=[name for name in FRAMEWORKS if name in sys.modules],
    )


def _sources(manifest: AppManifest) -> dict[str, str]:
    # By digest alone, files of equal content (every empty `__init__.py`) would be one.
    digests = {entry.path: entry.sha256 for entry in manifest.files}
    modules = sorted({spec.module for spec in manifest.functions if spec.serialized is None})
    files = collect(modules) if digests else []
    return {str(file.local): digests[file.path] for file in files if file.path in digests}


def script_path(target: str) -> Path:
    """The file of ``FILE`` or ``FILE::name``."""
    return Path(target.partition("::")[0])


def suspects(target: str, error: BaseException) -> list[str]:
    """Files whose change may mend a failed load: the script, what it imported, and where it failed."""
    script = script_path(target).resolve()
    found = {script}
    for module in list(sys.modules.values()):
        if (file := getattr(module, "__file__", None)) and is_user_file(file):
            found.add(Path(file).resolve())
    for frame in traceback.extract_tb(error.__traceback__):
        if is_user_file(frame.filename):
            found.add(Path(frame.filename).resolve())
    if isinstance(error, SyntaxError) and error.filename:
        found.add(Path(error.filename).resolve())
    if isinstance(error, ModuleNotFoundError) and error.name:
        # The user may be about to write this very module.
        missing = script.parent.joinpath(*error.name.split("."))
        found.update((missing.with_suffix(".py"), missing / "__init__.py"))
    libraries = _library_folders()
    mine = (path for path in found if not path.is_relative_to(sys.prefix))
    return sorted(str(path) for path in mine if not any(map(path.is_relative_to, libraries)))


def keep_bytecode_of_libraries_only() -> None:
    """Never write bytecode of first-party files.

    It is matched to its source by size and whole seconds, so a second edit of one second would load the
    first one's code.
    """
    libraries = tuple(map(str, _library_folders()))
    write = importlib.machinery.SourceFileLoader.set_data

    def set_data(
        loader: importlib.machinery.SourceFileLoader,
        path: str,
        data: bytes,
        *,
        _mode: int = 0o666,
    ) -> None:
        if path.startswith(libraries):
            write(loader, path, data, _mode=_mode)

    importlib.machinery.SourceFileLoader.set_data = set_data  # type: ignore[assignment,method-assign]


def _library_folders() -> set[Path]:
    names = ("stdlib", "platstdlib", "purelib", "platlib")
    return {Path(sysconfig.get_path(name)).resolve() for name in names}
