"""Printing log lines as the result of a command, on stdout."""

from __future__ import annotations

from collections.abc import Iterable

from portico.cli.log_lines import LogPrinter
from portico.cli.output import console, print_json
from portico.wire.container import LogLine


def print_logs(lines: Iterable[LogLine], *, as_json: bool) -> None:
    """Print `lines` as they come, or all of them as one JSON document. Ctrl-C ends a follow quietly."""
    if as_json:
        print_json(list(lines))
        return
    show = LogPrinter(console())
    try:
        for line in lines:
            show(line)
    except KeyboardInterrupt:
        return
