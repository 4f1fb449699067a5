from __future__ import annotations

from pathlib import Path

import pytest

from pools.fakes import function
from portico.server.gpus import Gpus, gpus_here

HERE = ("NVIDIA A100-SXM4-40GB", "NVIDIA A100-SXM4-40GB", "Tesla T4")


def lacks(models: tuple[str, ...], wanted: str | None, *, ignored: bool = False) -> bool:
    return Gpus(models, ignored=ignored).refusal(function(gpu=wanted)) is not None


@pytest.mark.parametrize(
    "wanted", [None, "any", "T4", "t4", "A100", "A100:2", "A100-40GB", "any:3"]
)
def test_function_may_have_what_is_there(wanted):
    assert not lacks(HERE, wanted)


@pytest.mark.parametrize("wanted", ["H100", "T4:2", "A100:3", "A100-80GB", "any:4", "A10"])
def test_function_that_needs_what_is_not_there_is_refused_unless_that_is_ignored(wanted):
    assert lacks(HERE, wanted)
    assert not lacks(HERE, wanted, ignored=True)


def test_a_machine_without_a_driver_has_none(tmp_path):
    assert gpus_here(tmp_path / "gpus") == ()
    assert lacks((), "any")


def test_models_are_what_the_driver_says(tmp_path: Path):
    for number, text in enumerate(["Model: \t Tesla T4\nIRQ: 1\n", "IRQ: 2\n"]):
        folder = tmp_path / f"0000:0{number}:00.0"
        folder.mkdir()
        (folder / "information").write_text(text)
    assert gpus_here(tmp_path) == ("Tesla T4", "")
