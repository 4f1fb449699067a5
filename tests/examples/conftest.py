"""One server for all examples: images are built once."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from examples.transcripts import Shell


@pytest.fixture(scope="session")
def shell_variables(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Environment of a user whose server runs, with a state folder and a config file of its own."""
    folder = tmp_path_factory.mktemp("examples")
    variables = {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PORTICO_STATE_DIR": str(folder / "state"),
        "PORTICO_CONFIG": str(folder / "config.toml"),
        "PORTICO_WEB": "127.0.0.1:0",
        "PORTICO_API": "127.0.0.1:0",
        "PORTICO_WORKSPACE": "ada",
        "PORTICO_ENVIRONMENT": "",
        "PORTICO_SERVER_URL": "",
        "PORTICO_TOKEN": "",
    }
    shell = Shell(variables)
    shell.run("portico server start")
    yield variables
    shell.run("portico server stop")


@pytest.fixture
def shell(shell_variables: dict[str, str]) -> Shell:
    """A shell of that user, which knows no URL yet."""
    return Shell(shell_variables)
