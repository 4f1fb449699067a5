"""Users' exceptions as text, without the frames of the machinery around their code."""

from __future__ import annotations

import importlib.machinery
import os
import sys
import traceback
from collections.abc import Callable

MACHINERY = (
    "portico",
    "uvicorn",
    "starlette",
    "fastapi",
    "anyio",
    "asyncio",
    "concurrent",
    "contextlib",
    "importlib",
)


def summary(error: BaseException) -> str:
    """``TypeError: what it says``: one line."""
    lines = traceback.format_exception_only(type(error), error)
    return lines[-1].strip()


def trimmed(error: BaseException) -> str:
    """The traceback of `error` and its causes. One with no frame of the user's own keeps all of them."""
    told = traceback.TracebackException.from_exception(error)
    _trim(told, _machinery_test())
    return "".join(told.format())


def report(error: BaseException) -> None:
    """Print the trimmed traceback on stderr, where it becomes part of the container's log."""
    print(trimmed(error), end="", file=sys.stderr, flush=True)


def _machinery_test() -> Callable[[str], bool]:
    folders = []
    for name in MACHINERY:
        module = sys.modules.get(name)
        spec: importlib.machinery.ModuleSpec | None = getattr(module, "__spec__", None)
        if spec is None or spec.origin is None:
            continue
        is_package = spec.submodule_search_locations is not None
        folders.append(os.path.dirname(spec.origin) + os.sep if is_package else spec.origin)
    prefixes = (*folders, "<frozen importlib.")
    return lambda filename: filename.startswith(prefixes)


def _trim(told: traceback.TracebackException, is_machinery: Callable[[str], bool]) -> None:
    own = [frame for frame in told.stack if not is_machinery(frame.filename)]
    if own:
        told.stack[:] = own
    linked = [told.__cause__, told.__context__, *(getattr(told, "exceptions", None) or ())]
    for other in linked:
        if other is not None:
            _trim(other, is_machinery)
