"""What a newcomer reads is true: the two commands, the links, the command lines, the settings."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
import typer.main

from portico.cli.main import app
from portico.server.config import ServerSettings

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
PAGES = [README, ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]

# Typer carries a click of its own, so click's class is not the one that is raised.
UsageError: type[Exception] = typer.BadParameter.__mro__[1]

FENCED = re.compile(r"^```\w*\n(.*?)^```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)\s]+)\)")
COMMAND = re.compile(r"^(?:\$ )?(portico .+?)(?:\s+#.*)?$", re.MULTILINE)
PYTHON = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)


def command_lines(page: Path) -> list[str]:
    """The ``portico`` command lines in the page's code blocks."""
    blocks = FENCED.findall(page.read_text("utf-8"))
    return [line for block in blocks for line in COMMAND.findall(block)]


def anchors(page: Path) -> set[str]:
    """The fragments by which a page's headings are linked to."""
    headings = re.findall(r"^#+ (.+)$", page.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def why_refused(line: str) -> str | None:
    """Why the command line's parser takes `line` no further, or None. Nothing is run."""
    words = shlex.split(line)[1:]
    command: Any = typer.main.get_command(app)
    context = command.make_context("portico", [], resilient_parsing=True)
    while hasattr(command, "commands"):
        while words and words[0].startswith("-"):
            if words.pop(0) not in {o for p in command.params for o in p.opts}:
                return f"unknown option in {line!r}"
        if not words or words[0] not in command.commands:
            return f"no such command: {line!r}"
        command = command.commands[words.pop(0)]
    try:
        command.make_context(command.name, words, parent=context)
    except UsageError as error:
        return f"{line!r}: {error}"
    return None


def all_command_lines() -> Iterator[tuple[str, str]]:
    for page in PAGES:
        for line in command_lines(page):
            yield page.name, line


def test_the_readme_sets_up_with_exactly_two_commands() -> None:
    blocks = re.findall(
        r"^```console\n(.*?)^```", README.read_text("utf-8"), re.MULTILINE | re.DOTALL
    )
    assert blocks == ["python3 bootstrap.py serve\n", "python3 bootstrap.py test\n"]
    assert sum("bootstrap.py" in block for block in FENCED.findall(README.read_text("utf-8"))) == 2


def test_bootstrap_knows_the_readmes_commands() -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "bootstrap.py", "--help"], capture_output=True, text=True
    )
    assert done.returncode == 1
    assert "bootstrap.py serve" in done.stderr
    assert "bootstrap.py test" in done.stderr


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for link in LINK.findall(page.read_text("utf-8")):
        if link.startswith("https://"):
            continue
        target, _, fragment = link.partition("#")
        path = (page.parent / target).resolve() if target else page
        assert path.exists(), link
        if fragment:
            assert fragment in anchors(path), link


def test_every_page_is_reached_from_the_readme() -> None:
    linked = {(README.parent / link).resolve() for link in LINK.findall(README.read_text("utf-8"))}
    assert set(PAGES) - {README} <= linked


@pytest.mark.parametrize(("page", "line"), sorted(set(all_command_lines())))
def test_command_lines_are_accepted(page: str, line: str) -> None:
    assert why_refused(line) is None, page


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_python_in_pages_compiles(page: Path) -> None:
    for block in PYTHON.findall(page.read_text("utf-8")):
        compile(block, page.name, "exec")


DERIVED = {"rate_burst": "five seconds of the rate"}  # defaults that are made of other settings


def test_every_server_option_is_documented_with_its_default() -> None:
    text = (ROOT / "docs" / "configuration.md").read_text("utf-8")
    rows = {
        cells[2].strip("` "): cells
        for line in text.splitlines()
        if line.startswith("| `--") and (cells := re.split(r"(?<!\\)\|", line)[1:-1])
    }
    assert list(rows) == list(ServerSettings.model_fields)
    for name, field in ServerSettings.model_fields.items():
        option, variable, _, default, _ = (cell.strip() for cell in rows[name])
        assert re.match(rf"`--{name.replace('_', '-')}[ `]", option)
        assert variable == f"`PORTICO_{name.upper()}`"
        if field.default_factory is None:
            assert default == DERIVED.get(name, shown(field.default))


def shown(default: object) -> str:
    """A default as the documentation writes it."""
    if default in ((), None):
        return "none"
    return f"`{default:g}`" if isinstance(default, float) else f"`{default!s}`"


def test_every_command_is_documented() -> None:
    text = (ROOT / "docs" / "commands.md").read_text("utf-8")
    group: Any = typer.main.get_command(app)
    for name, command in group.commands.items():
        for full in [f"{name} {sub}" for sub in getattr(command, "commands", ())] or [name]:
            assert f"portico {full}" in text, full


# ---- the rules see what they are there for


@pytest.mark.parametrize(
    "line",
    [
        "portico fly",
        "portico app fly",
        "portico --fly app list",
        "portico app list --fly",
        "portico app logs",
        "portico server run --web",
        "portico serve a.py b.py",
        "portico server run --sandbox",
    ],
)
def test_a_command_line_that_is_none_is_seen(line: str) -> None:
    assert why_refused(line) is not None
