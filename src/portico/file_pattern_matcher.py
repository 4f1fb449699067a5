"""Patterns that choose files, in the syntax of ``.dockerignore`` files."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Union

if TYPE_CHECKING:
    from pathlib import Path, PurePath

PathFilter = Callable[["Path"], bool]
"""Told a path relative to the folder in question; True means the path matches."""

Ignore = Union[list[str], tuple[str, ...], PathFilter]

DEFAULT_IGNORE = ("**/__pycache__", "**/.git", "**/.venv")


class FilePatternMatcher:
    """Callable that tells whether a relative path matches; ``~matcher`` is its opposite.

    ``*`` and ``?`` stay within one path component, ``**`` crosses them, a pattern that matches a folder matches all
    that is in it, and a later pattern with ``!`` in front takes paths out again.
    """

    def __init__(self, *patterns: str) -> None:
        self._rules = [_rule(p) for p in (raw.strip() for raw in patterns) if p and p[0] != "#"]

    def __call__(self, path: PurePath) -> bool:
        parts = path.as_posix().split("/")
        paths = ["/".join(parts[:n]) for n in range(1, len(parts) + 1)]
        matched = False
        for negated, pattern in self._rules:
            if matched == negated and any(pattern.fullmatch(p) for p in paths):
                matched = not negated
        return matched

    def __invert__(self) -> PathFilter:
        return lambda path: not self(path)


def as_filter(ignore: Ignore) -> PathFilter:
    """`ignore` as a callable."""
    return ignore if callable(ignore) else FilePatternMatcher(*ignore)


def _rule(pattern: str) -> tuple[bool, re.Pattern[str]]:
    negated = pattern.startswith("!")
    body = pattern[negated:].strip().strip("/").removeprefix("./")
    return negated, re.compile(_translate(body), re.DOTALL)


def _translate(pattern: str) -> str:
    out: list[str] = []
    i = 0
    while i < len(pattern):
        if pattern.startswith("**/", i):
            out.append("(?:[^/]+/)*")
            i += 3
        elif pattern.startswith("**", i):
            out.append(".*")
            i += 2
        elif pattern[i] == "[" and (end := pattern.find("]", i + 2)) > 0:
            body = pattern[i + 1 : end].replace("\\", "\\\\")
            out.append(f"[{'^' + body[1:] if body[0] in '!^' else body}]")
            i = end + 1
        else:
            out.append({"*": "[^/]*", "?": "[^/]"}.get(pattern[i]) or re.escape(pattern[i]))
            i += 1
    return "".join(out)
