"""The seam between what is declared (apps and versions) and what runs (pools and routes)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from portico.wire.api import ContainerInfo
from portico.wire.container import CallResult
from portico.wire.image import ImageEnvironment
from portico.wire.manifest import AppManifest, FunctionSpec, ParameterValue
from portico.wire.names import MAIN


class ActivationError(Exception):
    """A version could not go live; what served before still does. `detail` is the user's traceback, if any."""

    def __init__(self, message: str, detail: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.detail = detail


@dataclass(frozen=True, kw_only=True)
class Version:
    """One version of an app with everything resolved that its containers need.

    `function_ids` is keyed by `FunctionSpec.name`; `hosts` (without port, lower case) and `ports` by the web
    function's public name; `environments` by the manifest's image key (`environment_name` is the app's).
    `variables` returns a function's complete environment variables at the moment of the call, so that a changed
    secret reaches new containers. `holds` says whether one of `hosts` is still the app's: to be asked when the
    routes are made, since another app may have taken a custom domain over while containers started.
    """

    app_id: str
    name: str
    version: int
    manifest: AppManifest
    ephemeral: bool
    source_root: str
    function_ids: Mapping[str, str]
    environments: Mapping[str, ImageEnvironment]
    variables: Callable[[FunctionSpec], dict[str, str]]
    hosts: Mapping[str, Sequence[str]] = field(default_factory=dict)
    ports: Mapping[str, int] = field(default_factory=dict)
    environment_name: str = MAIN
    holds: Callable[[str], bool] = lambda host: True


class Runtime(Protocol):
    """Runs versions: pools behind routes."""

    async def activate(self, version: Version) -> None:
        """Make `version` the one that serves its app.

        Over a running version the new containers are ready first, then the routes switch in one step, then
        the old containers drain. Raises `ActivationError` and changes nothing where the new ones do not start.
        """

    async def deactivate(self, app_id: str) -> None:
        """Withdraw the app's routes at once and end its containers."""

    async def open_port(self, preferred: int | None) -> int:
        """Reserve a loopback port for a web function: `preferred` where it is free, else any free one.

        The listener stays bound as long as the server runs, and answers 404 while no version names it.
        """

    def warnings(self, manifest: AppManifest) -> Iterator[str]:
        """What whoever deploys `manifest` should know before it serves."""

    def containers(self, app_id: str | None = None) -> list[ContainerInfo]:
        """Live containers, oldest first."""

    def stop_container(self, container_id: str) -> bool:
        """Drain and end one container; False where there is none of that id."""

    def admit_call(self) -> int:
        """Count a call against the workspace's rate: 0, or the seconds after which there is room for it."""

    async def call(
        self,
        app_id: str,
        function: str,
        method: str,
        parameters: Mapping[str, ParameterValue],
        call_id: str,
        payload: bytes,
    ) -> CallResult:
        """Run one function call on a container of the function's pool.

        Raises `ActivationError` where no container can be had, KeyError for an unknown function.
        """
