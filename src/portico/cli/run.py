"""`portico run`: a local entrypoint here, or a function in a container, in an app that ends with it."""

from __future__ import annotations

import asyncio
import inspect
import signal
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from types import FrameType
from typing import Any

from portico.cli.connection import isolation_note
from portico.cli.embedded import server_or_embedded
from portico.cli.entrypoints import Entry, find_entry, parse_arguments
from portico.cli.errors import UserCodeError
from portico.cli.log_lines import LogPrinter
from portico.cli.output import console
from portico.cli.progress import Progress
from portico.cli.script import keep_bytecode_of_libraries_only
from portico.client import Client, use
from portico.exception import Error
from portico.loading import load_script


def run_script(target: str, options: Sequence[str]) -> None:
    """Import the script, run what `target` names of it, and print a function's result."""
    path, _, name = target.partition("::")
    keep_bytecode_of_libraries_only()
    entry = find_entry(_import(path), name or None)
    arguments = parse_arguments(entry, options, f"portico run {path}::{entry.name}")
    # The way out of `app.run()` is an exception, also where the end is asked for from outside.
    signal.signal(signal.SIGTERM, _interrupt)
    result = run_entry(entry, arguments, Path(path).name)
    if result is not None and not entry.local:
        print(repr(result))


def run_entry(entry: Entry, arguments: dict[str, Any], script: str) -> Any:
    """Run `entry` inside its app and return its result. Raises `UserCodeError` for what it raises."""
    err = console(stderr=True)
    with ExitStack() as stack:
        with Progress(err, "Starting the app") as progress:
            record = stack.enter_context(server_or_embedded())
            client = stack.enter_context(Client(record.url, record.token))
            use(client)
            stack.callback(use, None)
            if note := isolation_note(client.server()):
                err.print(note, style="dim")
            app_run = entry.app.run(on_event=progress.deploy_event, on_log=LogPrinter(err))
            stack.enter_context(app_run)
        try:
            return _call(entry, arguments)
        except Exception as error:
            raise UserCodeError.from_exception(f"{script}::{entry.name} failed", error) from error


def _call(entry: Entry, arguments: dict[str, Any]) -> Any:
    result = entry.call(**arguments)
    if inspect.iscoroutine(result):
        return asyncio.run(result)
    return result


def _import(path: str) -> Any:
    try:
        return load_script(path)
    except Error:
        raise
    except Exception as error:
        name = Path(path).name
        raise UserCodeError.from_exception(f"{name} could not be imported", error) from error


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt
