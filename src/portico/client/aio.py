"""`AsyncClient`: every route of the control API as a coroutine or an asynchronous iterator."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import AbstractAsyncContextManager
from typing import TypeVar
from urllib.parse import quote

import msgspec

from portico import exception
from portico.client.blobs import Blobs, put_blob, upload_missing
from portico.client.concurrently import concurrently
from portico.client.deploys import OnEvent, follow_deploy
from portico.client.ephemeral import AsyncRunningApp, OnLog, ephemeral_app
from portico.client.transport import Params, Transport
from portico.wire.api import (
    AppInfo,
    CallOutcome,
    CallRequest,
    CallStarted,
    ContainerInfo,
    CreateApp,
    CreateProxyToken,
    CreateToken,
    Deployed,
    FunctionHandle,
    MissingBlobs,
    ProxyTokenInfo,
    PutSecret,
    SecretInfo,
    ServerInfo,
    TokenInfo,
    VersionInfo,
)
from portico.wire.container import LogLine
from portico.wire.manifest import AppManifest
from portico.wire.names import MAIN

__all__ = ["AsyncClient", "AsyncRunningApp"]

T = TypeVar("T")
LONG_POLL = 30.0  # seconds one request waits for a call's outcome


class AsyncClient:
    """A connection to the server at `url` with an API token.

    Usable from one event loop at a time. Every method raises `portico.exception.Error` subclasses:
    `ConnectionError` where the server cannot be reached, `AuthError`, `NotFoundError`, `InvalidError`,
    `RemoteError`.
    """

    def __init__(self, url: str, token: str) -> None:
        self._transport = Transport(url, token)

    @property
    def url(self) -> str:
        """The control API's address, without a trailing slash."""
        return self._transport.url

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections; the client opens new ones when it is used again."""
        await self._transport.close()

    async def server(self) -> ServerInfo:
        """What the server says of itself."""
        return await self._get("/v1/server", ServerInfo)

    # ---- deploying

    async def missing_blobs(self, digests: list[str]) -> list[str]:
        """Of these SHA-256 digests, the ones the server does not have."""
        decoder = msgspec.json.Decoder(MissingBlobs)
        asked = MissingBlobs(digests=digests)
        answer = await self._transport.request("POST", "/v1/blobs/missing", decoder, record=asked)
        return answer.digests

    async def put_blob(self, digest: str, content: bytes) -> None:
        """Store `content` under its SHA-256."""
        await put_blob(self._transport, digest, content)

    async def upload(self, blobs: Blobs) -> None:
        """Store those of `blobs` (SHA-256 → file or bytes) that the server does not have."""
        await upload_missing(self._transport, blobs)

    async def create_app(
        self, name: str, *, ephemeral: bool = False, environment: str = MAIN
    ) -> AppInfo:
        """Find the deployed app `name` or make it; an ephemeral one is always new."""
        wanted = CreateApp(name=name, ephemeral=ephemeral, environment=environment)
        return await self._post("/v1/apps", AppInfo, wanted)

    async def deploy(
        self,
        manifest: AppManifest,
        blobs: Blobs,
        *,
        name: str | None = None,
        environment: str = MAIN,
        on_event: OnEvent = None,
    ) -> Deployed:
        """Deploy `manifest`, under `name` if given, and return when the new version serves.

        Raises `DeployError`; what served before goes on then.
        """
        if name is not None:
            manifest = msgspec.structs.replace(manifest, name=name)
        creating = self.create_app(manifest.name, environment=environment)
        app, _ = await concurrently(creating, self.upload(blobs))
        path = f"/v1/apps/{app.app_id}/versions"
        return await follow_deploy(self._transport, path, on_event, record=manifest)

    def ephemeral(
        self,
        manifest: AppManifest,
        blobs: Blobs,
        *,
        environment: str = MAIN,
        on_event: OnEvent = None,
        on_log: OnLog = None,
    ) -> AbstractAsyncContextManager[AsyncRunningApp]:
        """Run `manifest` as an ephemeral app for as long as the context is open."""
        wanted = CreateApp(name=manifest.name, ephemeral=True, environment=environment)
        return ephemeral_app(self._transport, wanted, manifest, blobs, on_event, on_log)

    # ---- apps: by id, or by name in an environment

    async def apps(self, *, all: bool = False, environment: str | None = None) -> list[AppInfo]:
        """Live apps, of every environment unless one is named; with `all` also the stopped ones."""
        params: Params = {"all": 1 if all else None, "environment": environment}
        return await self._get("/v1/apps", list[AppInfo], params)

    async def lookup_app(self, app: str, *, environment: str = MAIN) -> AppInfo:
        """One app."""
        return await self._get(f"/v1/apps/{_part(app)}", AppInfo, {"environment": environment})

    async def app_history(self, app: str, *, environment: str = MAIN) -> list[VersionInfo]:
        """The app's versions, as the server orders them."""
        path = f"/v1/apps/{_part(app)}/history"
        return await self._get(path, list[VersionInfo], {"environment": environment})

    async def rollback(
        self,
        app: str,
        version: int | None = None,
        *,
        environment: str = MAIN,
        on_event: OnEvent = None,
    ) -> Deployed:
        """Deploy an older version again; by default the one before the current."""
        path = f"/v1/apps/{_part(app)}/rollback"
        params: Params = {"version": version, "environment": environment}
        return await follow_deploy(self._transport, path, on_event, params=params)

    async def stop_app(self, app: str, *, environment: str = MAIN) -> AppInfo:
        """Stop an app; its URLs answer 404 from then on. Stopping a stopped one changes nothing."""
        path = f"/v1/apps/{_part(app)}/stop"
        return await self._post(path, AppInfo, params={"environment": environment})

    def app_logs(
        self,
        app: str,
        *,
        environment: str = MAIN,
        tail: int | None = None,
        since: float | None = None,
        container: str | None = None,
        follow: bool = False,
    ) -> AsyncGenerator[LogLine, None]:
        """The app's log lines, oldest first. `since` is in seconds since the epoch."""
        params: Params = {
            "environment": environment,
            "tail": tail,
            "since": since,
            "container": container,
            "follow": 1 if follow else None,
        }
        return self._transport.stream(
            "GET", f"/v1/apps/{_part(app)}/logs", msgspec.json.Decoder(LogLine), params=params
        )

    # ---- containers

    async def containers(
        self, app: str | None = None, *, environment: str | None = None
    ) -> list[ContainerInfo]:
        """Live containers, of one app, of one environment, or of all."""
        params: Params = {"app": app, "environment": environment}
        return await self._get("/v1/containers", list[ContainerInfo], params)

    def container_logs(
        self, container_id: str, *, tail: int | None = None, follow: bool = False
    ) -> AsyncGenerator[LogLine, None]:
        """The container's log lines, oldest first."""
        params: Params = {"tail": tail, "follow": 1 if follow else None}
        path = f"/v1/containers/{_part(container_id)}/logs"
        return self._transport.stream("GET", path, msgspec.json.Decoder(LogLine), params=params)

    async def stop_container(self, container_id: str) -> None:
        """Drain and end one container."""
        await self._transport.send("POST", f"/v1/containers/{_part(container_id)}/stop")

    # ---- secrets and tokens

    async def secrets(self) -> list[SecretInfo]:
        """Every stored secret, without values."""
        return await self._get("/v1/secrets", list[SecretInfo])

    async def put_secret(
        self, name: str, values: Mapping[str, str], *, overwrite: bool = False
    ) -> SecretInfo:
        """Store a secret. Raises `AlreadyExistsError` where `name` exists, unless `overwrite`."""
        record = PutSecret(values=dict(values), overwrite=overwrite)
        decoder = msgspec.json.Decoder(SecretInfo)
        path = f"/v1/secrets/{_part(name)}"
        try:
            return await self._transport.request("PUT", path, decoder, record=record)
        except exception.ConflictError as error:
            raise exception.AlreadyExistsError(str(error)) from error

    async def delete_secret(self, name: str) -> None:
        """Delete a secret; running containers keep its values."""
        await self._transport.send("DELETE", f"/v1/secrets/{_part(name)}")

    async def tokens(self) -> list[TokenInfo]:
        """Every API token, without secrets."""
        return await self._get("/v1/tokens", list[TokenInfo])

    async def create_token(self, name: str) -> TokenInfo:
        """Make an API token; only this answer ever holds its secret."""
        return await self._post("/v1/tokens", TokenInfo, CreateToken(name=name))

    async def revoke_token(self, token_id: str) -> None:
        """End an API token at once."""
        await self._transport.send("DELETE", f"/v1/tokens/{_part(token_id)}")

    async def proxy_tokens(self) -> list[ProxyTokenInfo]:
        """Every proxy token, without secrets."""
        return await self._get("/v1/proxy-tokens", list[ProxyTokenInfo])

    async def create_proxy_token(self, name: str = "") -> ProxyTokenInfo:
        """Make a proxy token; only this answer ever holds its secret."""
        return await self._post("/v1/proxy-tokens", ProxyTokenInfo, CreateProxyToken(name=name))

    async def revoke_proxy_token(self, key: str) -> None:
        """End a proxy token at once."""
        await self._transport.send("DELETE", f"/v1/proxy-tokens/{_part(key)}")

    # ---- calls

    async def lookup_function(
        self, app: str, name: str, *, environment: str = MAIN
    ) -> FunctionHandle:
        """A function of a deployed or running app, by public name or class name."""
        path = f"/v1/functions/{_part(app)}/{_part(name)}"
        return await self._get(path, FunctionHandle, {"environment": environment})

    async def call(self, request: CallRequest) -> CallOutcome:
        """Call a function and wait for its outcome, however long it takes."""
        decoder = msgspec.json.Decoder(CallOutcome)
        return await self._transport.request(
            "POST", "/v1/calls", decoder, record=request, timeout=None, patient=True
        )

    async def spawn(self, request: CallRequest) -> str:
        """Start a call and return its id."""
        decoder = msgspec.json.Decoder(CallStarted)
        started = await self._transport.request(
            "POST", "/v1/calls/spawn", decoder, record=request, patient=True
        )
        return started.call_id

    async def call_result(self, call_id: str, timeout: float | None = None) -> CallOutcome:
        """Wait up to `timeout` seconds for a call; its outcome is ``pending`` where that passes."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            left = LONG_POLL if deadline is None else max(0.0, deadline - time.monotonic())
            wait = {"timeout": min(left, LONG_POLL)}
            outcome = await self._get(f"/v1/calls/{_part(call_id)}", CallOutcome, wait)
            if outcome.state != "pending" or left < LONG_POLL:
                return outcome

    # ---- plumbing

    async def _get(self, path: str, answer: type[T], params: Params | None = None) -> T:
        decoder = msgspec.json.Decoder(answer)
        return await self._transport.request("GET", path, decoder, params=params)

    async def _post(
        self,
        path: str,
        answer: type[T],
        record: msgspec.Struct | None = None,
        params: Params | None = None,
    ) -> T:
        decoder = msgspec.json.Decoder(answer)
        return await self._transport.request("POST", path, decoder, record=record, params=params)


def _part(text: str) -> str:
    if text in ("", ".", "..") or "/" in text:
        raise exception.InvalidError(f"{text!r} is no name: names are not empty and have no '/'")
    return quote(text, safe="")
