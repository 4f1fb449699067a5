"""Makes ``import modal`` mean Portico in scripts that Portico loads."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

ALIAS = "modal"
PACKAGE = "portico"


class AliasLoader(Loader):
    """Answers with a module that is already imported, untouched."""

    def __init__(self, target: ModuleType) -> None:
        self._target = target

    def create_module(self, spec: ModuleSpec) -> None:
        """Let the import system make a throw-away module: it writes its spec into whatever this returns."""

    def exec_module(self, module: ModuleType) -> None:
        """Put the target in the place of the throw-away; the import system takes what stands there."""
        sys.modules[module.__name__] = self._target


class AliasFinder(MetaPathFinder):
    """Finds ``modal`` and ``modal.<submodule>`` as the modules of Portico."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The spec of the Portico module for an alias; None for every other name."""
        if fullname != ALIAS and not fullname.startswith(f"{ALIAS}."):
            return None
        real = PACKAGE + fullname.removeprefix(ALIAS)
        try:
            found = import_module(real)
        except ModuleNotFoundError as error:
            if error.name == real:
                return None
            raise
        return ModuleSpec(fullname, AliasLoader(found), is_package=hasattr(found, "__path__"))


def install() -> None:
    """Put the alias in front of whatever else provides ``modal``. Idempotent."""
    if not any(isinstance(finder, AliasFinder) for finder in sys.meta_path):
        sys.meta_path.insert(0, AliasFinder())
