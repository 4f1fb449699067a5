"""`portico serve`: an ephemeral app that follows the user's files."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Coroutine, Iterable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, TypeVar

from portico.cli.connection import isolation_note
from portico.cli.embedded import server_or_embedded_async
from portico.cli.live_reload import LiveReload
from portico.cli.loading import LoaderProcess, LoadError, blobs_of
from portico.cli.log_lines import LogPrinter
from portico.cli.messages import Loaded
from portico.cli.output import console, function_tree
from portico.cli.progress import Progress
from portico.client import AsyncClient
from portico.wire.image import ImageSpec

T = TypeVar("T")


async def until_stopped(work: Coroutine[Any, Any, None]) -> None:
    """Run `work` until it ends, or until a signal asks to stop; a second signal does not wait."""
    loop = asyncio.get_running_loop()
    task = asyncio.ensure_future(work)
    signals = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    stopped = False

    def stop() -> None:
        nonlocal stopped
        stopped = True
        task.cancel()
        for number in signals:
            loop.remove_signal_handler(number)

    for number in signals:
        loop.add_signal_handler(number, stop)
    try:
        await task
    except asyncio.CancelledError:
        if not stopped:
            raise


async def serve_app(target: str, environment: str, *, reload: bool) -> None:
    """Load, start and follow the app in `target` until cancelled, or until the server ends it."""
    out, err = console(), console(stderr=True)
    async with AsyncExitStack() as stack:
        with Progress(err, f"Loading {Path(target).name}") as progress:
            loader = await stack.enter_async_context(LoaderProcess())
            # The script and the server are both slow to come up, and neither needs the other.
            loading = asyncio.create_task(loader.load(target))
            stack.callback(loading.cancel)
            record = await stack.enter_async_context(server_or_embedded_async(_images(loading)))
            client = await stack.enter_async_context(AsyncClient(record.url, record.token))
            try:
                loaded = await loading
            except LoadError as error:
                raise error.for_user() from None
            progress.phase("Starting the app")
            app = await stack.enter_async_context(
                client.ephemeral(
                    loaded.manifest,
                    blobs_of(loaded),
                    environment=environment,
                    on_event=progress.deploy_event,
                    on_log=LogPrinter(err),
                )
            )
        if note := isolation_note(await client.server()):
            err.print(note, style="dim")
        out.print(function_tree(f"{loaded.manifest.name} ({app.app_id})", app.functions))
        err.print(
            "Serving until Ctrl-C" + (", following every save." if reload else "."), style="dim"
        )
        following = [LiveReload(target, loader, app, err).follow(loaded)] if reload else []
        try:
            reason = await _first(app.ended(), *following)
        except asyncio.CancelledError:
            err.print("Stopping the app.", style="dim")
            raise
        err.print(f"The app was stopped: {reason}")


async def _images(loading: Awaitable[Loaded]) -> Iterable[ImageSpec]:
    return (await asyncio.shield(loading)).manifest.images.values()


async def _first(*work: Coroutine[Any, Any, T]) -> T:
    """The result of what ends first; the rest is cancelled and over when this returns."""
    tasks = [asyncio.ensure_future(one) for one in work]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        return done.pop().result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
