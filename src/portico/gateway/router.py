"""Which web function a request is for: one dictionary look-up by host, or by the listener it came through."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypeVar

from portico.pools.endpoint import Endpoint

K = TypeVar("K")


class Router:
    """Routes by host name (lower case, without port) and by loopback port; changed only as a whole per app."""

    def __init__(self) -> None:
        self._by_host: dict[bytes, Endpoint] = {}
        self._by_port: dict[int, Endpoint] = {}

    def of_host(self, host: bytes) -> Endpoint | None:
        """The endpoint of a request to the shared address."""
        return self._by_host.get(host)

    def of_port(self, port: int) -> Endpoint | None:
        """The endpoint of a request that came through a port of its own."""
        return self._by_port.get(port)

    def publish(
        self, app_id: str, hosts: Mapping[str, Endpoint], ports: Mapping[int, Endpoint]
    ) -> None:
        """Replace all routes of an app in one step; hosts of other apps that it names are taken over."""
        self.withdraw(app_id)
        self._by_host.update({host.encode(): endpoint for host, endpoint in hosts.items()})
        self._by_port.update(ports)

    def withdraw(self, app_id: str) -> None:
        """Remove all routes of an app."""
        self._by_host = _without(self._by_host.items(), app_id)
        self._by_port = _without(self._by_port.items(), app_id)


def _without(routes: Iterable[tuple[K, Endpoint]], app_id: str) -> dict[K, Endpoint]:
    return {key: endpoint for key, endpoint in routes if endpoint.app_id != app_id}
