"""Dotenv files: finding one and reading it."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

from portico.exception import InvalidError

ENTRY = re.compile(
    r"""^[ \t]*(?:export[ \t]+)?(?P<key>[A-Za-z_][A-Za-z0-9_.]*)[ \t]*=[ \t]*
    (?: '(?P<single>[^']*)' | "(?P<double>(?:\\.|[^"\\])*)" | (?P<bare>[^\n]*?) )
    [ \t]*(?:(?<=\s)\#[^\n]*|(?<=['"])\#[^\n]*)?$""",
    re.MULTILINE | re.VERBOSE | re.DOTALL,
)
REFERENCE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}")
ESCAPES = {"n": "\n", "t": "\t", "r": "\r"}


def find(start: str | os.PathLike[str] | None, filename: str) -> Path:
    """The dotenv file beside `start`, or in the working folder or above it. Raises `InvalidError`."""
    if start is None:
        folder = Path.cwd()
        folders = [folder, *folder.parents]
    else:
        given = Path(start)
        folders = [given if given.is_dir() else given.parent]
    for folder in folders:
        if (folder / filename).is_file():
            return folder / filename
    raise InvalidError(
        f"there is no {filename} in {folders[0]}{' or above it' if start is None else ''}; "
        "create it, or pass its folder to Secret.from_dotenv"
    )


def parse(text: str, environ: Mapping[str, str]) -> dict[str, str]:
    """The variables that `text` sets. ``${NAME}`` and ``${NAME:-default}`` look at earlier entries, then `environ`.

    Single quotes keep everything as it is, double quotes know backslash escapes and may span lines.
    """
    values: dict[str, str] = {}

    def look_up(match: re.Match[str]) -> str:
        name, default = match[1], match[2] or ""
        return values.get(name) or environ.get(name) or default

    for match in ENTRY.finditer(text.replace("\r\n", "\n")):
        if match["single"] is not None:
            values[match["key"]] = match["single"]
            continue
        value = match["bare"]
        if match["double"] is not None:
            value = re.sub(r"\\(.)", lambda m: ESCAPES.get(m[1], m[1]), match["double"], flags=re.S)
        elif value.startswith("#"):
            value = ""
        values[match["key"]] = REFERENCE.sub(look_up, value)
    return values
