"""Options of `portico server` that bound what the gateway takes; docs/configuration.md tells what each does."""

from __future__ import annotations

from typing import Annotated

import typer

from portico.cli.grouped_help import LIMITS

RateLimit = Annotated[
    str | None,
    typer.Option(
        rich_help_panel=LIMITS, metavar="N|none", help="Requests and calls per second, in all."
    ),
]
RateBurst = Annotated[
    str | None,
    typer.Option(
        rich_help_panel=LIMITS,
        metavar="N",
        help="Requests and calls let through at once.",
    ),
]
MaxWaiting = Annotated[
    str | None,
    typer.Option(
        rich_help_panel=LIMITS, metavar="N", help="Inputs that may wait for one function."
    ),
]
MaxConnections = Annotated[
    str | None,
    typer.Option(rich_help_panel=LIMITS, metavar="N|auto", help="Client connections at once."),
]
MaxRequestBody = Annotated[
    str | None,
    typer.Option(
        rich_help_panel=LIMITS, metavar="SIZE", help="Largest request body, such as 4GiB."
    ),
]
MaxReplayBody = Annotated[
    str | None,
    typer.Option(
        rich_help_panel=LIMITS, metavar="SIZE", help="Largest body kept for a second container."
    ),
]
MaxRequestHead = Annotated[
    str | None,
    typer.Option(
        rich_help_panel=LIMITS, metavar="SIZE", help="Largest request head, such as 64KiB."
    ),
]
MaxRequestHeaders = Annotated[
    str | None,
    typer.Option(rich_help_panel=LIMITS, metavar="N", help="Headers that a request may have."),
]
MaxWebsocketMessage = Annotated[
    str | None,
    typer.Option(
        rich_help_panel=LIMITS, metavar="SIZE", help="Largest WebSocket message, such as 2MiB."
    ),
]
HeadTimeout = Annotated[
    str | None,
    typer.Option(
        rich_help_panel=LIMITS, metavar="SECONDS", help="Time for a request head to arrive."
    ),
]
IdleTimeout = Annotated[
    str | None,
    typer.Option(
        rich_help_panel=LIMITS, metavar="SECONDS", help="Time that an idle connection is kept."
    ),
]
