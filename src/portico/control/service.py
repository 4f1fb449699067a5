"""The control side as one part: built, started and closed by the server."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from pathlib import Path

from fastapi import FastAPI

from portico.control.api.app import create_api
from portico.control.api.routes import Services
from portico.control.apps import Apps
from portico.control.blobs import Blobs
from portico.control.calls import Calls
from portico.control.catalog import Catalog
from portico.control.crypto import Vault, load_or_create_key
from portico.control.deploys import Deployer
from portico.control.endings import Endings
from portico.control.log_files import LogFiles
from portico.control.logs import Logs
from portico.control.meters import Meters
from portico.control.naming import Hosts, Site
from portico.control.proxy_tokens import ProxyGate, ProxyTokens
from portico.control.registry import Registry
from portico.control.runtime import Runtime
from portico.control.secrets import Secrets
from portico.control.sessions import CallLater, Sessions
from portico.control.sources import Sources
from portico.control.store.store import Store
from portico.control.tokens import Tokens
from portico.images.base import ImageBuilder
from portico.wire.api import ServerInfo
from portico.wire.container import LogLine

KEEP_LOGS = 7 * 24 * 3600.0  # seconds after an ephemeral app's last line


class Control:
    """Apps, secrets, tokens, logs and calls of one server, with their API.

    `state_dir` is made with mode 0700. An `embedded` server leaves deployed apps to the server that
    deployed them, and follows the proxy tokens that are made there. `gate` is told of proxy tokens. `info` describes the server; its counts are filled in here. Building a `Control` reads or
    makes the installation's key and raises `CryptoError` where it cannot be used.
    """

    def __init__(
        self,
        *,
        state_dir: Path,
        site: Site,
        version: str,
        info: Callable[[], ServerInfo],
        builder: ImageBuilder,
        runtime: Runtime,
        gate: ProxyGate,
        meters: Meters,
        database_url: str | None = None,
        embedded: bool = False,
        call_later: CallLater | None = None,
    ) -> None:
        state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._embedded = embedded
        self._store = Store(database_url or f"sqlite:///{state_dir / 'portico.db'}")
        self._blobs = Blobs(state_dir / "blobs")
        self._sources = Sources(state_dir / "sources", self._blobs)
        self._logs = Logs(LogFiles(state_dir / "logs"))
        vault = Vault(load_or_create_key(state_dir / "key"))
        self._secrets = Secrets(self._store.secrets, vault)
        self._tokens = Tokens(self._store.tokens)
        self._proxy_tokens = ProxyTokens(self._store.proxy_tokens, gate)
        registry, hosts = Registry(), Hosts()
        endings = Endings(runtime=runtime, registry=registry, hosts=hosts, logs=self._logs)
        catalog = Catalog(
            store=self._store.apps, vault=vault, registry=registry, runtime=runtime, site=site
        )
        deployer = Deployer(
            apps=self._store.apps,
            vault=vault,
            secrets=self._secrets,
            blobs=self._blobs,
            sources=self._sources,
            builder=builder,
            runtime=runtime,
            registry=registry,
            hosts=hosts,
            site=site,
            endings=endings,
        )
        self._apps = Apps(
            store=self._store.apps,
            vault=vault,
            registry=registry,
            deployer=deployer,
            endings=endings,
            catalog=catalog,
        )
        self._sessions = Sessions(
            catalog=catalog,
            endings=endings,
            registry=registry,
            logs=self._logs,
            call_later=call_later,
        )
        self._calls = Calls(catalog, runtime)
        self.api: FastAPI = create_api(
            Services(
                apps=self._apps,
                catalog=catalog,
                sessions=self._sessions,
                calls=self._calls,
                secrets=self._secrets,
                tokens=self._tokens,
                proxy_tokens=self._proxy_tokens,
                blobs=self._blobs,
                logs=self._logs,
                runtime=runtime,
                meters=meters,
                info=info,
            ),
            version,
        )

    def log_sink(self, line: LogLine) -> None:
        """Keep a line of output. To be called on the event loop."""
        self._logs.append(line)

    def blob(self, digest: str) -> Path:
        """Where a file of an image's recipe is, for its build. Raises `InvalidRequestError`."""
        return self._blobs.path(digest)

    def issue_token(self, name: str) -> str:
        """An API token that is valid until this process ends, for the server's own clients."""
        return self._tokens.issue_local(name)

    async def start(self) -> None:
        """Open the store and bring deployed apps back. Raises `StoreError`."""
        await self._store.open()
        await asyncio.to_thread(self._prepare_folders)
        await self._secrets.load()
        await self._proxy_tokens.load()
        persistent = {row.id for row in await self._store.apps.all(deployed_only=False)}
        await self._logs.remove_unwritten_since(time.time() - KEEP_LOGS, persistent)
        if self._embedded:
            self._proxy_tokens.follow()
        else:
            await self._apps.restore()

    async def end_streams(self) -> None:
        """End sessions, deploys, calls and followers, while output is still kept. Idempotent.

        To be called before the HTTP server is asked to finish, because it waits for open streams.
        """
        await self._sessions.close()
        await self._apps.close()
        await self._calls.close()
        self._logs.end_all()

    async def close(self) -> None:
        """`end_streams`, then write what is pending and close the store. Idempotent."""
        async with contextlib.AsyncExitStack() as stack:
            stack.push_async_callback(self._store.close)
            stack.push_async_callback(self._proxy_tokens.close)
            stack.push_async_callback(self._logs.close)
            stack.push_async_callback(self.end_streams)

    def _prepare_folders(self) -> None:
        self._blobs.prepare()
        self._sources.prepare()
        self._sources.prune()
