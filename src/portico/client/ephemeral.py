"""An ephemeral app: it lives while the session connection that is held here is open."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager, suppress

import msgspec

from portico import exception
from portico.client.blobs import Blobs, upload_missing
from portico.client.concurrently import concurrently
from portico.client.deploys import OnEvent, follow_deploy
from portico.client.errors import cut_off
from portico.client.transport import Transport
from portico.wire.api import (
    AppInfo,
    CreateApp,
    Deployed,
    FunctionInfo,
    SessionClosed,
    SessionEvent,
    SessionLog,
    SessionOpened,
)
from portico.wire.container import LogLine
from portico.wire.manifest import AppManifest

OnLog = Callable[[LogLine], None] | None

SILENCE = 30.0  # seconds without a ping after which the server counts as dead
STOP_TIMEOUT = 5.0  # seconds the server has to say that the app stopped; it stops in any case
SESSION: msgspec.json.Decoder[SessionEvent] = msgspec.json.Decoder(SessionEvent)
APP = msgspec.json.Decoder(AppInfo)


class AsyncRunningApp:
    """A live ephemeral app."""

    def __init__(self, transport: Transport, app_id: str, session: asyncio.Task[str]) -> None:
        self._transport = transport
        self._session = session
        self.app_id = app_id
        self.version = 0
        self.functions: list[FunctionInfo] = []

    async def update(
        self, manifest: AppManifest, blobs: Blobs, on_event: OnEvent = None
    ) -> Deployed:
        """Make `manifest` the app's next version. Raises `DeployError`; the last good one goes on then."""
        await upload_missing(self._transport, blobs)
        return await self._publish(manifest, on_event)

    async def ended(self) -> str:
        """Wait until the server ends the app and return why. Raises where the connection is lost."""
        return await asyncio.shield(self._session)

    async def _publish(self, manifest: AppManifest, on_event: OnEvent) -> Deployed:
        path = f"/v1/apps/{self.app_id}/versions"
        deployed = await follow_deploy(self._transport, path, on_event, record=manifest)
        self.version, self.functions = deployed.version, deployed.functions
        return deployed


@asynccontextmanager
async def ephemeral_app(
    transport: Transport,
    wanted: CreateApp,
    manifest: AppManifest,
    blobs: Blobs,
    on_event: OnEvent,
    on_log: OnLog,
) -> AsyncIterator[AsyncRunningApp]:
    """Start `manifest` as the ephemeral app `wanted`, and stop it on the way out."""
    info, _ = await concurrently(
        transport.request("POST", "/v1/apps", APP, record=wanted),
        upload_missing(transport, blobs),
    )
    opened = asyncio.Event()
    session = asyncio.create_task(_follow_session(transport, info.app_id, opened, on_log))
    try:
        await _until(opened, session)
        app = AsyncRunningApp(transport, info.app_id, session)
        await app._publish(manifest, on_event)
        yield app
    finally:
        if not session.done():
            await _stop(transport, info.app_id, session)
        session.cancel()
        await asyncio.gather(session, return_exceptions=True)


async def _follow_session(
    transport: Transport, app_id: str, opened: asyncio.Event, on_log: OnLog
) -> str:
    events = transport.stream("GET", f"/v1/apps/{app_id}/session", SESSION, silence=SILENCE)
    async with aclosing(events):
        async for event in events:
            if isinstance(event, SessionOpened):
                opened.set()
            elif isinstance(event, SessionLog) and on_log is not None:
                on_log(event.line)
            elif isinstance(event, SessionClosed):
                return event.reason
    raise cut_off(transport.url, "the app's session", "the server closed it")


async def _until(opened: asyncio.Event, session: asyncio.Task[str]) -> None:
    waiting = asyncio.create_task(opened.wait())
    try:
        await asyncio.wait({waiting, session}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        waiting.cancel()
    if session.done():
        reason = session.result()
        raise exception.RemoteError(f"the server ended the app before it started: {reason}")


async def _stop(transport: Transport, app_id: str, session: asyncio.Task[str]) -> None:
    # Said before the connection closes, so that the URLs are gone and the containers' last lines are
    # here when this returns. Where it fails, the closing connection ends the app all the same.
    with suppress(exception.Error, asyncio.TimeoutError):
        stop = transport.request("POST", f"/v1/apps/{app_id}/stop", APP)
        await asyncio.wait_for(stop, STOP_TIMEOUT)
        await asyncio.wait({session}, timeout=1.0)
