"""Names that a Python file imports, told from its text."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path


def imported_names(file: Path, package: str) -> list[str]:
    """Absolute names of modules that `file` may import, wherever in it; `package` is the package it is in.

    Of ``from a import b`` both ``a`` and ``a.b`` are named, since `b` may be a module. A file that does not parse
    imports nothing.
    """
    try:
        tree = ast.parse(file.read_bytes())
    except (OSError, SyntaxError, ValueError):
        return []
    return list(dict.fromkeys(_names(tree, package)))


def _names(tree: ast.AST, package: str) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name
        elif isinstance(node, ast.ImportFrom):
            base = _absolute(node, package)
            if base:
                yield base
            for alias in node.names:
                yield f"{base}.{alias.name}".lstrip(".")


def _absolute(node: ast.ImportFrom, package: str) -> str:
    if not node.level:
        return node.module or ""
    parents = package.split(".")[: len(package.split(".")) - node.level + 1]
    return ".".join([*parents, node.module] if node.module else parents)
