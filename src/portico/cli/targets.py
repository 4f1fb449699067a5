"""What a command was pointed at: ``FILE`` or ``FILE::name``."""

from __future__ import annotations

from pathlib import Path

import typer


def script_target(text: str) -> str:
    """`text` if its file exists; a usage error that says what was expected otherwise."""
    file, separator, name = text.partition("::")
    path = Path(file).expanduser()
    if path.is_dir():
        raise typer.BadParameter(f"{file} is a folder; name the script in it that makes the app")
    if not path.is_file():
        raise typer.BadParameter(f"there is no file {file}")
    if path.suffix != ".py":
        raise typer.BadParameter(f"{file} is not a Python file (*.py)")
    if separator and not name:
        raise typer.BadParameter("after :: comes the name of something in the file")
    return f"{path}{separator}{name}"
