"""`Client`: the blocking twin of `AsyncClient`, method by method."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Coroutine, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

from portico.client.aio import AsyncClient, AsyncRunningApp
from portico.client.blobs import Blobs
from portico.client.deploys import OnEvent
from portico.client.ephemeral import OnLog
from portico.client.loop_thread import LoopThread
from portico.wire.api import (
    AppInfo,
    CallOutcome,
    CallRequest,
    ContainerInfo,
    Deployed,
    FunctionHandle,
    FunctionInfo,
    ProxyTokenInfo,
    SecretInfo,
    ServerInfo,
    TokenInfo,
    VersionInfo,
)
from portico.wire.container import LogLine
from portico.wire.manifest import AppManifest
from portico.wire.names import MAIN

T = TypeVar("T")


class Client:
    """A connection to the server at `url`, usable from any thread and after a fork.

    Methods and errors are those of `AsyncClient`. Callbacks (`on_event`, `on_log`) run on the client's own
    thread and must not call the client. `aio` is the asynchronous client, for the caller's own event loop.
    """

    def __init__(self, url: str, token: str) -> None:
        self.url = url.rstrip("/")
        self._token = token
        self.aio = AsyncClient(url, token)
        # By process id. A fork's child has no thread of its parent's, and must leave the parent's
        # sockets alone; its entry stays here so that nothing of it is finalised in the child.
        self._workers: dict[int, _Worker] = {}

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections and end the thread; the client starts anew when it is used again."""
        worker = self._workers.pop(os.getpid(), None)
        if worker is not None:
            worker.close()

    def server(self) -> ServerInfo:
        return self._run(self._client.server())

    def missing_blobs(self, digests: list[str]) -> list[str]:
        return self._run(self._client.missing_blobs(digests))

    def put_blob(self, digest: str, content: bytes) -> None:
        self._run(self._client.put_blob(digest, content))

    def upload(self, blobs: Blobs) -> None:
        self._run(self._client.upload(blobs))

    def create_app(self, name: str, *, ephemeral: bool = False, environment: str = MAIN) -> AppInfo:
        return self._run(
            self._client.create_app(name, ephemeral=ephemeral, environment=environment)
        )

    def deploy(
        self,
        manifest: AppManifest,
        blobs: Blobs,
        *,
        name: str | None = None,
        environment: str = MAIN,
        on_event: OnEvent = None,
    ) -> Deployed:
        return self._run(
            self._client.deploy(
                manifest, blobs, name=name, environment=environment, on_event=on_event
            )
        )

    @contextmanager
    def ephemeral(
        self,
        manifest: AppManifest,
        blobs: Blobs,
        *,
        environment: str = MAIN,
        on_event: OnEvent = None,
        on_log: OnLog = None,
    ) -> Iterator[RunningApp]:
        """Run `manifest` as an ephemeral app for as long as the context is open."""
        context = self._client.ephemeral(
            manifest, blobs, environment=environment, on_event=on_event, on_log=on_log
        )
        app = self._run(_entered(context))
        try:
            yield RunningApp(self, app)
        finally:
            self._run(_left(context))

    def apps(self, *, all: bool = False, environment: str | None = None) -> list[AppInfo]:
        return self._run(self._client.apps(all=all, environment=environment))

    def lookup_app(self, app: str, *, environment: str = MAIN) -> AppInfo:
        return self._run(self._client.lookup_app(app, environment=environment))

    def app_history(self, app: str, *, environment: str = MAIN) -> list[VersionInfo]:
        return self._run(self._client.app_history(app, environment=environment))

    def rollback(
        self,
        app: str,
        version: int | None = None,
        *,
        environment: str = MAIN,
        on_event: OnEvent = None,
    ) -> Deployed:
        return self._run(
            self._client.rollback(app, version, environment=environment, on_event=on_event)
        )

    def stop_app(self, app: str, *, environment: str = MAIN) -> AppInfo:
        return self._run(self._client.stop_app(app, environment=environment))

    def app_logs(
        self,
        app: str,
        *,
        environment: str = MAIN,
        tail: int | None = None,
        since: float | None = None,
        container: str | None = None,
        follow: bool = False,
    ) -> Iterator[LogLine]:
        lines = self._client.app_logs(
            app,
            environment=environment,
            tail=tail,
            since=since,
            container=container,
            follow=follow,
        )
        return self._iterate(lines)

    def containers(
        self, app: str | None = None, *, environment: str | None = None
    ) -> list[ContainerInfo]:
        return self._run(self._client.containers(app, environment=environment))

    def container_logs(
        self, container_id: str, *, tail: int | None = None, follow: bool = False
    ) -> Iterator[LogLine]:
        return self._iterate(self._client.container_logs(container_id, tail=tail, follow=follow))

    def stop_container(self, container_id: str) -> None:
        self._run(self._client.stop_container(container_id))

    def secrets(self) -> list[SecretInfo]:
        return self._run(self._client.secrets())

    def put_secret(
        self, name: str, values: Mapping[str, str], *, overwrite: bool = False
    ) -> SecretInfo:
        return self._run(self._client.put_secret(name, values, overwrite=overwrite))

    def delete_secret(self, name: str) -> None:
        self._run(self._client.delete_secret(name))

    def tokens(self) -> list[TokenInfo]:
        return self._run(self._client.tokens())

    def create_token(self, name: str) -> TokenInfo:
        return self._run(self._client.create_token(name))

    def revoke_token(self, token_id: str) -> None:
        self._run(self._client.revoke_token(token_id))

    def proxy_tokens(self) -> list[ProxyTokenInfo]:
        return self._run(self._client.proxy_tokens())

    def create_proxy_token(self, name: str = "") -> ProxyTokenInfo:
        return self._run(self._client.create_proxy_token(name))

    def revoke_proxy_token(self, key: str) -> None:
        self._run(self._client.revoke_proxy_token(key))

    def lookup_function(self, app: str, name: str, *, environment: str = MAIN) -> FunctionHandle:
        return self._run(self._client.lookup_function(app, name, environment=environment))

    def call(self, request: CallRequest) -> CallOutcome:
        return self._run(self._client.call(request))

    def spawn(self, request: CallRequest) -> str:
        return self._run(self._client.spawn(request))

    def call_result(self, call_id: str, timeout: float | None = None) -> CallOutcome:
        return self._run(self._client.call_result(call_id, timeout))

    @property
    def _worker(self) -> _Worker:
        pid = os.getpid()
        worker = self._workers.get(pid)
        if worker is None:
            worker = self._workers.setdefault(pid, _Worker(self.url, self._token))
        return worker

    @property
    def _client(self) -> AsyncClient:
        return self._worker.client

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        return self._worker.loop.run(work)

    def _iterate(self, items: AsyncGenerator[T, None]) -> Iterator[T]:
        try:
            while batch := self._run(_next(items)):
                yield from batch
        finally:
            self._run(_closed(items))


class RunningApp:
    """A live ephemeral app, for blocking callers."""

    def __init__(self, client: Client, app: AsyncRunningApp) -> None:
        self._client = client
        self._app = app

    @property
    def app_id(self) -> str:
        """The app's id."""
        return self._app.app_id

    @property
    def functions(self) -> list[FunctionInfo]:
        """The functions of the version that serves, with their URLs."""
        return self._app.functions

    def update(self, manifest: AppManifest, blobs: Blobs, on_event: OnEvent = None) -> Deployed:
        """Make `manifest` the app's next version. Raises `DeployError`; the last good one goes on then."""
        return self._client._run(self._app.update(manifest, blobs, on_event))

    def ended(self) -> str:
        """Wait until the server ends the app and return why. Raises where the connection is lost."""
        return self._client._run(self._app.ended())


class _Worker:
    """One process's event loop and the connections that belong to it."""

    def __init__(self, url: str, token: str) -> None:
        self.client = AsyncClient(url, token)
        self.loop = LoopThread("portico-client")

    def close(self) -> None:
        self.loop.run(self.client.close())
        self.loop.close()


async def _entered(context: Any) -> AsyncRunningApp:
    app: AsyncRunningApp = await context.__aenter__()
    return app


async def _left(context: Any) -> None:
    await context.__aexit__(None, None, None)


async def _next(items: AsyncGenerator[T, None]) -> list[T]:
    async for item in items:
        return [item]
    return []


async def _closed(items: AsyncGenerator[Any, None]) -> None:
    await items.aclose()
