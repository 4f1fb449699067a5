"""Every example does what its docstring says."""

from __future__ import annotations

import re
import shutil
from contextlib import ExitStack
from pathlib import Path

import pytest

from examples.transcripts import EXAMPLES, Shell, matches, steps
from outside import own_network

node = pytest.mark.skipif(shutil.which("node") is None, reason="needs node")


NEEDS = {"parametrized_file_server": own_network, "web_server_node": node}


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    "example",
    [pytest.param(p, id=p.stem, marks=NEEDS.get(p.stem, ())) for p in EXAMPLES],
)
@pytest.mark.skipif(shutil.which("curl") is None, reason="the examples are tried with curl")
def test_an_example_does_what_its_docstring_says(example: Path, shell: Shell) -> None:
    todo = steps(example)
    assert any(step.output is not None for step in todo), "the docstring shows no output"
    with ExitStack() as stack:
        for command, shown in todo:
            if command.startswith("portico serve "):
                stack.enter_context(shell.serving(command))
                continue
            printed = shell.run(command)
            if shown is not None:
                assert matches(shown, printed), f"{command} printed\n{printed}"


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_names_its_own_file(example: Path) -> None:
    targets = [
        step.command for step in steps(example) if f"examples/{example.name}" in step.command
    ]
    assert targets, f"no command runs examples/{example.name}"


def test_every_example_is_in_the_table_of_the_guides_sections() -> None:
    table = (EXAMPLES[0].parent / "README.md").read_text("utf-8")
    assert {path.name for path in EXAMPLES} <= set(re.findall(r"\w+\.py", table))
    for name, link in re.findall(r"\[(.+?)\]\((.+?)\)", table):
        assert name == link
        assert (EXAMPLES[0].parent / link).exists(), link


def test_output_that_differs_is_seen() -> None:
    assert matches("a\nb", "a\nb\n")
    assert matches("a\n...", "a\nanything")
    for shown, printed in (("a", "ab"), ("a", ""), ("a\nb", "a"), ("a\n...", "b\na"), ("", "a")):
        assert not matches(shown, printed)
