"""Whether containers of this machine get networks of their own, and what is said where they do not."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from containers import run, until_gone
from portico.sandboxes.network import Networks

pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="elsewhere there are no network namespaces to find"
)


def program(folder: Path, text: str) -> Callable[[str], str | None]:
    """A stand-in for pasta, looked up."""
    path = folder / "pasta"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return lambda name: str(path) if name == "pasta" else None


def test_a_machine_without_pasta_shares_its_network_and_says_what_to_install() -> None:
    async def main() -> None:
        network = await Networks(find=lambda program: None).choose()
        assert not network.helper
        assert "apt install passt" in network.shared_because

    run(main())


def test_a_pasta_that_fails_is_quoted_and_one_that_was_mended_is_used(tmp_path: Path) -> None:
    async def main() -> None:
        networks = Networks(find=program(tmp_path, "echo no tun device here >&2; exit 1"))
        assert (await networks.choose()).shared_because.endswith(": no tun device here")
        program(tmp_path, 'while [ "$1" != -- ]; do shift; done; shift; exec "$@"')
        network = await networks.choose()
        assert network.shared_because == ""
        assert network.helper[-1] == "--"
        assert ("--netns-only" in network.helper) == (os.geteuid() == 0)

    run(main())


def test_a_pasta_that_fails_leaves_nothing_behind(tmp_path: Path) -> None:
    # As the real one does that has made the process to run and then finds no tun device.
    text = f"sleep 600 & echo $! > {tmp_path / 'left'}; echo no tun device here >&2; exit 1"

    async def main() -> None:
        network = await Networks(find=program(tmp_path, text)).choose()
        assert network.shared_because.endswith(": no tun device here")
        await until_gone(int((tmp_path / "left").read_text()))

    run(main())


def test_a_pasta_that_runs_nothing_is_not_believed(tmp_path: Path) -> None:
    async def main() -> None:
        assert (await Networks(find=program(tmp_path, "exit 0")).choose()).shared_because

    run(main())


def test_a_machine_that_works_is_tried_once(tmp_path: Path) -> None:
    async def main() -> None:
        tries = tmp_path / "tries"
        text = f'echo x >> {tries}; while [ "$1" != -- ]; do shift; done; shift; exec "$@"'
        networks = Networks(find=program(tmp_path, text))
        chosen = await asyncio.gather(*(networks.choose() for _ in range(10)))
        assert len(set(chosen)) == 1
        await networks.choose()
        assert tries.read_text() == "x\n"

    run(main())
