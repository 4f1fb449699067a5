"""What a reverse proxy under test is known by."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Traffic = Literal["requests", "streams", "websockets"]
"""What a proxy is set up for."""


@dataclass(frozen=True)
class Proxy:
    """A URL for each app that it stands before, and the process that carries their bytes."""

    urls: Mapping[str, str]
    pid: int
