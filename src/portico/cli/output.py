"""What commands print: results on stdout, progress and logs on stderr, both plain when piped."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text
from rich.tree import Tree

from portico.wire.api import FunctionInfo

R = TypeVar("R", bound=msgspec.Struct)
NO_LIMIT = 10_000  # columns: nothing is wrapped or cut


def console(*, stderr: bool = False) -> Console:
    """A console on stdout or stderr that leaves what it is given as it is.

    Ids and URLs are results, to be copied whole: a narrow terminal wraps the lines itself. Only spinners,
    on stderr, have to know its width.
    """
    width = None if stderr and sys.stderr.isatty() else NO_LIMIT
    return Console(stderr=stderr, width=width, highlight=False, markup=False, emoji=False)


def print_json(value: Any) -> None:
    """One JSON document on stdout."""
    sys.stdout.write(msgspec.json.format(msgspec.json.encode(value)).decode() + "\n")
    sys.stdout.flush()


def print_list(
    records: Sequence[R], columns: Mapping[str, Callable[[R], str]], *, as_json: bool, empty: str
) -> None:
    """A listing: JSON, or a table with a column per function of a record. `empty` says there is nothing."""
    if as_json:
        print_json(list(records))
        return
    if not records:
        console(stderr=True).print(empty)
        return
    table = Table(*columns, box=None, pad_edge=False, header_style="bold")
    for record in records:
        table.add_row(*(Text(show(record)) for show in columns.values()))
    console().print(table)


def function_tree(title: str, functions: Sequence[FunctionInfo]) -> Tree:
    """An app's functions with every URL of theirs, each a link on terminals that know links."""
    tree = Tree(Text(title, style="bold"))
    for function in functions:
        branch = tree.add(Text.assemble((function.name, "cyan"), "  ", (function.kind, "dim")))
        for url in function.urls:
            branch.add(Text(url, style=f"link {url}"))
    return tree


def age(since: float) -> str:
    """How long ago `since` (seconds since the epoch) was, in its largest unit."""
    seconds = max(0, int(time.time() - since))
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "m")):
        if seconds >= size:
            return f"{seconds // size}{unit} ago"
    return f"{seconds}s ago"
