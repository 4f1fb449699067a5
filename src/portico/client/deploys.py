"""Following a deploy's stream of events to its end."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import aclosing

import msgspec

from portico.client.errors import DeployError, cut_off
from portico.client.transport import Params, Transport
from portico.wire.api import Deployed, DeployEvent, DeployFailed

OnEvent = Callable[[DeployEvent], None] | None
EVENTS: msgspec.json.Decoder[DeployEvent] = msgspec.json.Decoder(DeployEvent)


async def follow_deploy(
    transport: Transport,
    path: str,
    on_event: OnEvent,
    *,
    record: msgspec.Struct | None = None,
    params: Params | None = None,
) -> Deployed:
    """POST to `path`, pass every event to `on_event`, return the last. Raises `DeployError`."""
    # No bound on silence: a build may download for minutes without a word.
    events = transport.stream("POST", path, EVENTS, record=record, params=params)
    async with aclosing(events):
        async for event in events:
            if on_event is not None:
                on_event(event)
            if isinstance(event, Deployed):
                return event
            if isinstance(event, DeployFailed):
                raise DeployError.from_event(event)
    raise cut_off(transport.url, "the deploy", "the answer ended early")
