"""Log lines of containers, each behind the name of its function."""

from __future__ import annotations

import zlib

from rich.console import Console
from rich.text import Text

from portico.wire.container import LogLine

COLOURS = ("cyan", "magenta", "green", "yellow", "blue", "bright_cyan", "bright_magenta")


class LogPrinter:
    """Prints lines as they come; a function keeps its colour from run to run."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._width = 0

    def __call__(self, line: LogLine) -> None:
        """Print one line."""
        name = line.function or line.container_id
        self._width = max(self._width, len(name))
        colour = COLOURS[zlib.crc32(name.encode()) % len(COLOURS)]
        prefix = Text(f"{name:<{self._width}} | ", style=colour)
        if line.stream == "system":
            prefix.append(line.text, style="dim")
        elif self._console.is_terminal:
            prefix.append_text(Text.from_ansi(line.text))
        else:
            prefix.append(line.text)
        self._console.print(prefix, soft_wrap=True)
