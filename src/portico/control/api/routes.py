"""The routes of the control API."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Path, Query, Request
from starlette.responses import Response

from portico.control.api.bodies import MAX_LARGE_BODY, Schemas, answer, declared_length, read
from portico.control.api.streams import MEDIA_TYPE, Lines
from portico.control.apps import Apps
from portico.control.blobs import Blobs
from portico.control.calls import Calls
from portico.control.catalog import Catalog
from portico.control.errors import NotFoundError
from portico.control.logs import Logs
from portico.control.meters import Meters
from portico.control.proxy_tokens import ProxyTokens
from portico.control.runtime import Runtime
from portico.control.secrets import Secrets
from portico.control.sessions import Sessions
from portico.control.tokens import Tokens
from portico.wire.api import (
    AppInfo,
    CallOutcome,
    CallRequest,
    CallStarted,
    ContainerInfo,
    CreateApp,
    CreateProxyToken,
    CreateToken,
    DeployEvent,
    FunctionHandle,
    MissingBlobs,
    ProxyTokenInfo,
    PutSecret,
    SecretInfo,
    ServerInfo,
    SessionEvent,
    TokenInfo,
    VersionInfo,
)
from portico.wire.container import LogLine
from portico.wire.manifest import AppManifest
from portico.wire.names import MAIN

MAX_TAIL = 100_000  # lines
MAX_WAIT = 300.0  # seconds one request waits for a call

Name = Annotated[str, Path(max_length=512)]
Environment = Annotated[str, Query(description="where a name is looked for; an id needs none")]
Tail = Annotated[int, Query(ge=0, le=MAX_TAIL, description="lines of history")]
Number = Annotated[int, Query(ge=1, le=2**31 - 1, description="of a version")]
Since = Annotated[float, Query(ge=0, description="seconds since the epoch")]
Wait = Annotated[float, Query(ge=0, le=MAX_WAIT, description="seconds")]


@dataclass(frozen=True, kw_only=True)
class Services:
    """What the API is a face of."""

    apps: Apps
    catalog: Catalog
    sessions: Sessions
    calls: Calls
    secrets: Secrets
    tokens: Tokens
    proxy_tokens: ProxyTokens
    blobs: Blobs
    logs: Logs
    runtime: Runtime
    meters: Meters
    info: Callable[[], ServerInfo]


def all_routes(services: Services, schemas: Schemas) -> list[APIRouter]:
    """Every route but the open ones, by subject."""
    return [
        _metrics(services, schemas),
        _server(services, schemas),
        _apps(services, schemas),
        _containers(services, schemas),
        _secrets(services, schemas),
        _tokens(services, schemas),
        _proxy_tokens(services, schemas),
        _calls(services, schemas),
    ]


def _metrics(services: Services, schemas: Schemas) -> APIRouter:
    routes = APIRouter(tags=["server"])
    text: dict[str, Any] = {"content": {"text/plain": {}, "application/openmetrics-text": {}}}

    @routes.get(
        "/metrics", response_class=Response, responses={200: text, **schemas.gives_nothing()}
    )
    async def metrics(request: Request) -> Response:
        """The server's numbers for Prometheus, as text or as OpenMetrics."""
        body, media_type = await services.meters.exposition(request.headers.get("accept", ""))
        return Response(body, headers={"content-type": media_type})

    return routes


def _server(services: Services, schemas: Schemas) -> APIRouter:
    routes = APIRouter(prefix="/v1", tags=["server"])

    @routes.get("/server", responses=schemas.gives(ServerInfo))
    async def server() -> Response:
        """The server, its addresses and its size."""
        containers = len(services.runtime.containers())
        info = services.info()
        return answer(
            msgspec.structs.replace(info, apps=services.catalog.live(), containers=containers)
        )

    @routes.post(
        "/blobs/missing",
        responses=schemas.gives(MissingBlobs),
        openapi_extra=schemas.takes(MissingBlobs),
    )
    async def missing_blobs(request: Request) -> Response:
        """Which of these files the server needs."""
        wanted = await read(request, MissingBlobs, MAX_LARGE_BODY)
        missing = await asyncio.to_thread(services.blobs.missing, wanted.digests)
        return answer(MissingBlobs(digests=missing))

    @routes.put(
        "/blobs/{sha256}",
        status_code=204,
        responses=schemas.gives_nothing(),
        openapi_extra=schemas.takes_bytes(),
    )
    async def put_blob(sha256: Name, request: Request) -> Response:
        """Upload a file under its digest."""
        await services.blobs.put(sha256, request.stream(), declared_length(request))
        return Response(status_code=204)

    return routes


def _apps(services: Services, schemas: Schemas) -> APIRouter:
    routes = APIRouter(prefix="/v1", tags=["apps"])
    apps, catalog = services.apps, services.catalog

    @routes.get("/apps", responses=schemas.gives(list[AppInfo]))
    async def list_apps(all: bool = False, environment: str | None = None) -> Response:
        """Live apps, of every environment or of one; with `all` also stopped ones."""
        return answer(await catalog.all(stopped=all, environment=environment))

    @routes.post("/apps", responses=schemas.gives(AppInfo), openapi_extra=schemas.takes(CreateApp))
    async def create_app(request: Request) -> Response:
        """Find or make a persistent app, or make an ephemeral one."""
        wanted = await read(request, CreateApp)
        make = services.sessions.create if wanted.ephemeral else apps.create
        return answer(await make(wanted.name, wanted.environment))

    @routes.get("/apps/{ref}", responses=schemas.gives(AppInfo))
    async def describe_app(ref: Name, environment: Environment = MAIN) -> Response:
        """One app, by id or name."""
        return answer(await catalog.describe(ref, environment))

    @routes.post(
        "/apps/{ref}/versions",
        responses=schemas.gives(DeployEvent, MEDIA_TYPE),
        openapi_extra=schemas.takes(AppManifest),
    )
    async def deploy_app(ref: Name, request: Request) -> Response:
        """Deploy a manifest; what happens is streamed."""
        return Lines(await apps.deploy(ref, await read(request, AppManifest, MAX_LARGE_BODY)))

    @routes.get("/apps/{ref}/session", responses=schemas.gives(SessionEvent, MEDIA_TYPE))
    async def session(ref: Name) -> Response:
        """Keep an ephemeral app alive while this stream is open."""
        return Lines(await services.sessions.open(ref))

    @routes.get("/apps/{ref}/history", responses=schemas.gives(list[VersionInfo]))
    async def history(ref: Name, environment: Environment = MAIN) -> Response:
        """Versions that have served, newest first."""
        return answer(await catalog.history(ref, environment))

    @routes.post("/apps/{ref}/rollback", responses=schemas.gives(DeployEvent, MEDIA_TYPE))
    async def rollback(
        ref: Name, version: Number | None = None, environment: Environment = MAIN
    ) -> Response:
        """Deploy an older version again; by default the one before the current."""
        return Lines(await apps.rollback(ref, version, environment))

    @routes.post("/apps/{ref}/stop", responses=schemas.gives(AppInfo))
    async def stop_app(ref: Name, environment: Environment = MAIN) -> Response:
        """Withdraw an app."""
        return answer(await apps.stop(ref, environment))

    @routes.get("/apps/{ref}/logs", responses=schemas.gives(LogLine, MEDIA_TYPE))
    async def app_logs(
        ref: Name,
        tail: Tail = 100,
        since: Since = 0.0,
        container: str | None = None,
        follow: bool = False,
        environment: Environment = MAIN,
    ) -> Response:
        """An app's log lines, oldest first; with `follow` also those to come."""
        app = await catalog.find(ref, environment)
        return await _log_lines(services.logs, app.id, tail, since, container, follow)

    return routes


def _containers(services: Services, schemas: Schemas) -> APIRouter:
    routes = APIRouter(prefix="/v1", tags=["containers"])
    runtime = services.runtime

    @routes.get("/containers", responses=schemas.gives(list[ContainerInfo]))
    async def list_containers(app: str | None = None, environment: str | None = None) -> Response:
        """Live containers, oldest first: of every environment and app, of one environment, or of one app."""
        if app is not None:
            found = await services.catalog.find(app, environment or MAIN)
            return answer(runtime.containers(found.id))
        live = runtime.containers()
        return answer([one for one in live if environment in (None, one.environment)])

    @routes.get("/containers/{container_id}/logs", responses=schemas.gives(LogLine, MEDIA_TYPE))
    async def container_logs(
        container_id: Name, tail: Tail = 100, since: Since = 0.0, follow: bool = False
    ) -> Response:
        """A container's log lines, oldest first; with `follow` also those to come."""
        live = {found.container_id: found.app_id for found in runtime.containers()}
        app_id = live.get(container_id) or services.logs.app_of(container_id)
        if app_id is None:
            raise NotFoundError(
                f"there is no container {container_id!r}: see `portico container list`"
            )
        return await _log_lines(services.logs, app_id, tail, since, container_id, follow)

    @routes.post(
        "/containers/{container_id}/stop", status_code=204, responses=schemas.gives_nothing()
    )
    async def stop_container(container_id: Name) -> Response:
        """Drain and end a container."""
        if not runtime.stop_container(container_id):
            raise NotFoundError(
                f"there is no container {container_id!r}: see `portico container list`"
            )
        return Response(status_code=204)

    return routes


def _secrets(services: Services, schemas: Schemas) -> APIRouter:
    routes = APIRouter(prefix="/v1/secrets", tags=["secrets"])
    secrets = services.secrets

    @routes.get("", responses=schemas.gives(list[SecretInfo]))
    async def list_secrets() -> Response:
        """Secrets with the names of their keys."""
        return answer(await secrets.all())

    @routes.put(
        "/{name}", responses=schemas.gives(SecretInfo), openapi_extra=schemas.takes(PutSecret)
    )
    async def put_secret(name: Name, request: Request) -> Response:
        """Create or replace a secret."""
        return answer(await secrets.put(name, await read(request, PutSecret)))

    @routes.delete("/{name}", status_code=204, responses=schemas.gives_nothing())
    async def delete_secret(name: Name) -> Response:
        """Remove a secret."""
        await secrets.delete(name)
        return Response(status_code=204)

    return routes


def _tokens(services: Services, schemas: Schemas) -> APIRouter:
    routes = APIRouter(prefix="/v1/tokens", tags=["tokens"])
    tokens = services.tokens

    @routes.get("", responses=schemas.gives(list[TokenInfo]))
    async def list_tokens() -> Response:
        """API tokens, without their secrets."""
        return answer(await tokens.all())

    @routes.post("", responses=schemas.gives(TokenInfo), openapi_extra=schemas.takes(CreateToken))
    async def create_token(request: Request) -> Response:
        """Make an API token; its secret is in this answer only."""
        wanted = await read(request, CreateToken)
        return answer(await tokens.create(wanted.name))

    @routes.delete("/{token_id}", status_code=204, responses=schemas.gives_nothing())
    async def revoke_token(token_id: Name) -> Response:
        """Revoke a token."""
        await tokens.revoke(token_id)
        return Response(status_code=204)

    return routes


def _proxy_tokens(services: Services, schemas: Schemas) -> APIRouter:
    routes = APIRouter(prefix="/v1/proxy-tokens", tags=["proxy tokens"])
    proxy_tokens = services.proxy_tokens

    @routes.get("", responses=schemas.gives(list[ProxyTokenInfo]))
    async def list_proxy_tokens() -> Response:
        """Proxy tokens, without their secrets."""
        return answer(await proxy_tokens.all())

    @routes.post(
        "", responses=schemas.gives(ProxyTokenInfo), openapi_extra=schemas.takes(CreateProxyToken)
    )
    async def create_proxy_token(request: Request) -> Response:
        """Make a proxy token; its secret is in this answer only."""
        wanted = await read(request, CreateProxyToken)
        return answer(await proxy_tokens.create(wanted.name))

    @routes.delete("/{key}", status_code=204, responses=schemas.gives_nothing())
    async def revoke_proxy_token(key: Name) -> Response:
        """Revoke a proxy token: the next request with it is refused."""
        await proxy_tokens.revoke(key)
        return Response(status_code=204)

    return routes


def _calls(services: Services, schemas: Schemas) -> APIRouter:
    routes = APIRouter(prefix="/v1", tags=["calls"])
    calls = services.calls

    @routes.get("/functions/{app}/{function}", responses=schemas.gives(FunctionHandle))
    async def function(app: Name, function: Name, environment: Environment = MAIN) -> Response:
        """What a client needs to call a function."""
        return answer(await services.catalog.function(app, function, environment))

    @routes.post(
        "/calls", responses=schemas.gives(CallOutcome), openapi_extra=schemas.takes(CallRequest)
    )
    async def call(request: Request) -> Response:
        """Call a function and wait."""
        return answer(await calls.call(await read(request, CallRequest, MAX_LARGE_BODY)))

    @routes.post(
        "/calls/spawn",
        responses=schemas.gives(CallStarted),
        openapi_extra=schemas.takes(CallRequest),
    )
    async def spawn(request: Request) -> Response:
        """Begin a call."""
        return answer(await calls.spawn(await read(request, CallRequest, MAX_LARGE_BODY)))

    @routes.get("/calls/{call_id}", responses=schemas.gives(CallOutcome))
    async def outcome(call_id: Name, timeout: Wait = 0.0) -> Response:
        """Where a spawned call stands, waiting for it up to `timeout`."""
        return answer(await calls.outcome(call_id, timeout))

    return routes


async def _log_lines(
    logs: Logs, app_id: str, tail: int, since: float, container_id: str | None, follow: bool
) -> Response:
    if follow:
        return Lines(logs.follow(app_id, tail, since, container_id))
    return Lines(_each(await logs.tail(app_id, tail, since, container_id)))


async def _each(records: list[LogLine]) -> AsyncIterator[Any]:
    for record in records:
        yield record
