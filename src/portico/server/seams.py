"""What apps need of the gateway beside them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from portico.pools.endpoint import Endpoint


class Routes(Protocol):
    """The gateway, as far as apps need it."""

    def publish(
        self, app_id: str, hosts: Mapping[str, Endpoint], ports: Mapping[int, Endpoint]
    ) -> None:
        """Replace an app's routes in one step."""

    def withdraw(self, app_id: str) -> None:
        """Remove an app's routes."""

    async def open_port(self, preferred: int | None) -> int:
        """Bind a loopback port: the preferred one, or any."""


class Rate(Protocol):
    """What requests and calls of the whole workspace are counted by."""

    def take(self) -> bool:
        """Take a place, if there is one."""

    @property
    def retry_after(self) -> int:
        """Whole seconds until there is one."""
