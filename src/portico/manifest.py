"""From an app's declarations to what travels: an `AppManifest` and the files it refers to."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from portico import source
from portico.blobs import BlobSet
from portico.declaration import importable_name
from portico.exception import InvalidError
from portico.names import checked_app_name
from portico.pickling import dumps_by_value
from portico.wire.image import ImageSpec
from portico.wire.manifest import AppManifest, FunctionSpec

if TYPE_CHECKING:
    from portico.app import App
    from portico.cls import Cls
    from portico.functions import Function
    from portico.image import Image

Blobs = dict[str, "Path | bytes"]


def build_manifest(app: App, *, name: str | None = None) -> tuple[AppManifest, Blobs]:
    """The app as the server takes it, with the content of every file: SHA-256 → a local path or the bytes.

    Reads local files now. An app without a name has that of its script. Raises `InvalidError` naming the fix.
    """
    if not app.registered:
        raise InvalidError(f"{app!r} has no functions; put @app.function() on one")
    blobs = BlobSet()
    recipes = _Recipes(blobs)
    functions = tuple(_function_spec(app, registered, recipes) for registered in app.registered)
    modules = {spec.module for spec in functions if spec.serialized is None}
    sources = source.collect(sorted(modules)) if app.include_source else []
    manifest = AppManifest(
        name=name or app.name or _name_of_script(app),
        functions=functions,
        images=recipes.by_key,
        files=tuple(blobs.add_file(file.local, file.path) for file in sources),
    )
    return manifest, blobs.sources


class _Recipes:
    """Finished recipes, each image resolved once and equal ones kept once."""

    def __init__(self, blobs: BlobSet) -> None:
        self.by_key: dict[str, ImageSpec] = {}
        self._blobs = blobs
        self._keys: dict[int, str] = {}

    def key(self, image: Image) -> str:
        if id(image) not in self._keys:
            self._keys[id(image)] = self._add(image.spec(self._blobs))
        return self._keys[id(image)]

    def _add(self, spec: ImageSpec) -> str:
        # Recipes that differ only in mounted files build the same image but are not the same recipe.
        key, n = spec.image_id, 2
        while self.by_key.setdefault(key, spec) != spec:
            key, n = f"{spec.image_id}-{n}", n + 1
        return key


def _function_spec(
    app: App, registered: Function[..., Any, Any] | Cls, recipes: _Recipes
) -> FunctionSpec:
    info = registered.info
    settings = info.settings
    owner = registered.app or app
    module = importable_name(info.module)
    return FunctionSpec(
        name=info.name,
        module=module or info.module,
        qualname=info.qualname,
        image=recipes.key(owner.image_of(info)),
        methods=info.methods,
        is_class=info.is_class,
        serialized=_pickled(registered) if settings.serialized or module is None else None,
        parameters=info.parameters,
        secrets=tuple(secret.spec for secret in (*owner.secrets, *settings.secrets)),
        env=settings.env,
        cpu=settings.cpu,
        memory=settings.memory,
        gpu=settings.gpu,
        scaling=settings.scaling,
        retries=settings.retries,
        timeout=settings.timeout,
        startup_timeout=settings.startup_timeout,
        enable_memory_snapshot=settings.enable_memory_snapshot,
    )


def _pickled(registered: Function[..., Any, Any] | Cls) -> bytes:
    info = registered.info
    return dumps_by_value(registered.code, info.qualname, sys.modules.get(info.module))


def _name_of_script(app: App) -> str:
    module = importable_name(app.registered[0].info.module)
    if module is None:
        raise InvalidError("an app of a notebook needs a name: write portico.App('name')")
    return checked_app_name(re.sub(r"[^A-Za-z0-9._-]", "-", module).strip("._-") or "app")
