"""What the threat model calls shown by a test is shown by one that is there."""

from __future__ import annotations

import re
from pathlib import Path

TESTS = Path(__file__).parent
PAGE = TESTS.parent / "docs" / "THREAT_MODEL.md"


def test_every_test_that_the_threat_model_names_exists() -> None:
    named = set(re.findall(r"`([\w/]+\.py)`", PAGE.read_text("utf-8")))
    assert len(named) > 15
    assert [name for name in sorted(named) if "def test_" not in _text(TESTS / name)] == []


def _text(path: Path) -> str:
    return path.read_text("utf-8") if path.is_file() else ""
