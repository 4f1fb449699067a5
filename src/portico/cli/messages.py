"""What passes between the CLI and the interpreter that loads the user's script."""

from __future__ import annotations

from typing import Literal

import msgspec

from portico.wire.manifest import AppManifest


class Load(msgspec.Struct, tag="load", kw_only=True):
    """Import `target` (``FILE`` or ``FILE::name``) and answer with `number`; a newer request supersedes it."""

    number: int
    target: str


class Preload(msgspec.Struct, tag="preload", kw_only=True):
    """Import these modules now, so that later loads start with them. No user code is among them."""

    modules: list[str]


class Loaded(msgspec.Struct, tag="loaded", kw_only=True):
    """A script's app.

    `files` and `values` hold the blobs by SHA-256, as paths or bytes. `watched` are all files that travel
    with the app, with the SHA-256 they were loaded with. `frameworks` are those of the preloadable modules
    that the script imported.
    """

    number: int
    manifest: AppManifest
    files: dict[str, str]
    values: dict[str, bytes]
    watched: dict[str, str]
    frameworks: list[str]


class LoadFailed(msgspec.Struct, tag="failed", kw_only=True):
    """The script could not be loaded.

    `kind` says whose words `message` and `traceback` are: the user's exception, a mistake that Portico
    found, or a loading process that died. `files` are those whose change may mend it.
    """

    number: int
    kind: Literal["user", "mistake", "died"]
    message: str
    traceback: str = ""
    files: list[str] = []


Request = Load | Preload
Answer = Loaded | LoadFailed
