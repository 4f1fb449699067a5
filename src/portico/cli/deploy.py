"""`portico deploy`: make an app persistent."""

from __future__ import annotations

import asyncio
from pathlib import Path

from rich.console import Console

from portico.cli.background import start_server
from portico.cli.connection import isolation_note
from portico.cli.deployed import print_deployed
from portico.cli.loading import LoaderProcess, LoadError, blobs_of
from portico.cli.output import console
from portico.cli.progress import Progress
from portico.client import AsyncClient
from portico.client.discovery import find_server
from portico.wire.local import ServerRecord


async def deploy_app(target: str, name: str | None, environment: str, *, as_json: bool) -> None:
    """Load, upload and deploy the app in `target`, then print what serves."""
    err = console(stderr=True)
    with Progress(err, f"Loading {Path(target).name}") as progress:
        async with LoaderProcess() as loader:
            server = asyncio.create_task(_server(err))
            try:
                loaded = await loader.load(target)
                record = await server
            except LoadError as error:
                raise error.for_user() from None
            finally:
                server.cancel()
                await asyncio.gather(server, return_exceptions=True)
        async with AsyncClient(record.url, record.token) as client:
            progress.phase(f"Deploying {name or loaded.manifest.name}")
            deployed = await client.deploy(
                loaded.manifest,
                blobs_of(loaded),
                name=name,
                environment=environment,
                on_event=progress.deploy_event,
            )
            note = isolation_note(await client.server())
    if note:
        err.print(note, style="dim")
    print_deployed(deployed, as_json=as_json)


async def _server(err: Console) -> ServerRecord:
    record = await asyncio.to_thread(find_server)
    if record is None:
        err.print("No server is configured: starting the local one (`portico server start`).")
        record = await asyncio.to_thread(start_server)
        err.print(f"The local server runs at {record.url}; `portico server stop` ends it.")
    return record
