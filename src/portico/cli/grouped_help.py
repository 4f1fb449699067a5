"""Help that shows options in groups: a server has too many for one list."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from typer.core import TyperCommand

LIMITS = "Limits"
HTTPS = "HTTPS and proxies"
OPTIONS = "Options"


class GroupedHelp(TyperCommand):
    """A command whose options stand below the names of their panels, those without one first."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """See click."""
        groups: defaultdict[str, list[tuple[str, str]]] = defaultdict(list, {OPTIONS: []})
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None:
                groups[getattr(parameter, "rich_help_panel", None) or OPTIONS].append(record)
        # One width for all, so that the groups' texts are below each other.
        width = max(len(option) for records in groups.values() for option, _ in records)
        for title, records in groups.items():
            with formatter.section(title):
                formatter.write_dl([(option.ljust(width), text) for option, text in records])
