from __future__ import annotations

from collections.abc import Iterator

import pytest

from control_standin import StandIn, stand_in_server


@pytest.fixture
def server() -> Iterator[StandIn]:
    with stand_in_server() as server:
        yield server
