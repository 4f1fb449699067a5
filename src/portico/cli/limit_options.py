"""Options of `portico server` that bound what the gateway takes; docs/configuration.md tells what each does."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from portico.cli.grouped_help import LIMITS


def _limit(metavar: str, help: str) -> Any:
    return typer.Option(rich_help_panel=LIMITS, metavar=metavar, help=help)


RateLimit = Annotated[str | None, _limit("N|none", "Requests and calls per second, in all.")]
RateBurst = Annotated[str | None, _limit("N", "Requests and calls let through at once.")]
MaxWaiting = Annotated[str | None, _limit("N", "Inputs that may wait for one function.")]
MaxConnections = Annotated[str | None, _limit("N|auto", "Client connections at once.")]
MaxRequestBody = Annotated[str | None, _limit("SIZE", "Largest request body, such as 4GiB.")]
MaxReplayBody = Annotated[str | None, _limit("SIZE", "Largest body kept for a second container.")]
MaxRequestHead = Annotated[str | None, _limit("SIZE", "Largest request head, such as 64KiB.")]
MaxRequestHeaders = Annotated[str | None, _limit("N", "Headers that a request may have.")]
MaxWebsocketMessage = Annotated[
    str | None, _limit("SIZE", "Largest WebSocket message, such as 2MiB.")
]
HeadTimeout = Annotated[str | None, _limit("SECONDS", "Time for a request head to arrive.")]
IdleTimeout = Annotated[str | None, _limit("SECONDS", "Time that an idle connection is kept.")]
