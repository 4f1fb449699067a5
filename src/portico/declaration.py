"""What one ``@app.function`` or ``@app.cls`` declared, as data."""

from __future__ import annotations

import os
import sys

import msgspec

from portico.options import Settings
from portico.wire.manifest import MethodSpec, ParameterSpec


class Declaration(msgspec.Struct, frozen=True, kw_only=True):
    """A function or class of an app. `module` is as Python has it, so possibly ``__main__``."""

    name: str
    module: str
    qualname: str
    methods: tuple[MethodSpec, ...]
    settings: Settings
    is_class: bool = False
    parameters: tuple[ParameterSpec, ...] = ()

    def public_name(self, method: MethodSpec) -> str:
        """``function`` or ``Class.method``."""
        return f"{self.name}.{method.name}" if self.is_class else self.name

    @property
    def importable_module(self) -> str | None:
        """The name containers import the module by; None where it has no file and must travel pickled."""
        return importable_name(self.module)


def importable_name(module: str) -> str | None:
    """The name under which a fresh interpreter imports `module`: the script's stem for ``__main__``."""
    if module != "__main__":
        return module
    main = sys.modules["__main__"]
    spec = getattr(main, "__spec__", None)
    if spec is not None and spec.name:
        return str(spec.name)
    file = getattr(main, "__file__", None)
    return os.path.splitext(os.path.basename(file))[0] if file else None
