"""Options of `portico server` that bound what the gateway takes; docs/configuration.md tells what each does."""

from __future__ import annotations

from typing import Annotated

import typer

RateBurst = Annotated[
    str | None, typer.Option(metavar="N", help="Requests at once that the rate limit lets through.")
]
MaxWaiting = Annotated[
    str | None, typer.Option(metavar="N", help="Inputs that may wait for one function.")
]
MaxConnections = Annotated[
    str | None, typer.Option(metavar="N|auto", help="Client connections at once.")
]
MaxRequestBody = Annotated[
    str | None, typer.Option(metavar="SIZE", help="Largest request body, such as 4GiB.")
]
MaxReplayBody = Annotated[
    str | None, typer.Option(metavar="SIZE", help="Largest body kept for a second container.")
]
MaxRequestHead = Annotated[
    str | None, typer.Option(metavar="SIZE", help="Largest request head, such as 64KiB.")
]
MaxRequestHeaders = Annotated[
    str | None, typer.Option(metavar="N", help="Headers that a request may have.")
]
MaxWebsocketMessage = Annotated[
    str | None, typer.Option(metavar="SIZE", help="Largest WebSocket message, such as 2MiB.")
]
HeadTimeout = Annotated[
    str | None, typer.Option(metavar="SECONDS", help="Time for a request head to arrive.")
]
IdleTimeout = Annotated[
    str | None, typer.Option(metavar="SECONDS", help="Time that an idle connection is kept.")
]
