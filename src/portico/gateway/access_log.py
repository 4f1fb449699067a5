"""One line of the access log: what a request was and how it ended, and nothing that a client must keep secret.

Neither header fields nor query strings are in it, but for the user agent: tokens, keys and personal data travel in
them. What comes from the client is written as printable ASCII, so that no line can be forged and no terminal
commanded.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import NamedTuple, Protocol

import msgspec

from portico.gateway.forwarding import Peer
from portico.gateway.head import RequestHead
from portico.pools.endpoint import Endpoint
from portico.pools.member import Lease

LONGEST = 2048  # characters of one value; longer ones are cut
USER_AGENT = b"user-agent:"
ESCAPES = {code: f"\\x{code:02x}" for code in (*range(0x20), 0x7F)}


class Line(msgspec.Struct, frozen=True):
    """As it is written, in JSON. `time` is when the request had ended; sizes are in bytes.

    `status` is null where the client was told nothing, and so is what belongs to a function where none was found.
    Of a request that could not be read nothing is known; the bytes of a WebSocket are not counted.
    """

    time: datetime
    request_id: str
    client: str
    method: str | None
    host: str | None
    path: str | None
    status: int | None
    outcome: str
    duration_ms: float
    bytes_in: int | None
    bytes_out: int | None
    environment: str | None
    app: str | None
    function: str | None
    container: str | None
    cold_start: dict[str, float] | None
    trace_id: str
    user_agent: str | None


class Facts(NamedTuple):
    """What an exchange knows when it is over: who its request came from, and sizes in bytes."""

    peer: Peer
    lease: Lease | None
    received: int
    sent: int


class Ended(Protocol):
    """An exchange that is over, as the book sees it."""

    began: float
    """When its head had been read, on the monotonic clock."""
    head: RequestHead
    endpoint: Endpoint | None

    def facts(self) -> Facts:
        """The rest, asked for only where a line is written."""


def line(
    ended: Ended,
    client_of: Callable[[RequestHead, Peer], str],
    outcome: str,
    status: int,
    seconds: float,
) -> Line:
    """The line of an exchange; `client_of` gives the client's address for a head and who it came from."""
    head, endpoint = ended.head, ended.endpoint
    peer, lease, received, sent = ended.facts()
    subject = None if endpoint is None else endpoint.tally.subject
    cold_start = None if lease is None else lease.cold_start
    trace = head.traceparent
    return Line(
        time=datetime.now(UTC),
        request_id=head.request_id.decode("ascii"),
        client=client_of(head, peer),
        method=printable(head.method) or None,
        host=printable(head.host or b"") or None,
        path=printable(head.target.partition(b"?")[0]) or None,
        status=status or None,
        outcome=outcome,
        duration_ms=int(seconds * 1e6) / 1000,
        bytes_in=None if status == 101 else received,
        bytes_out=None if status == 101 else sent,
        environment=subject and subject.environment,
        app=subject and subject.app,
        function=subject and subject.function,
        container=None if lease is None else lease.member.id,
        cold_start=None if cold_start is None else _rounded(cold_start.phases),
        trace_id=(head.request_id[3:] if trace is None else trace[3:35]).decode("ascii"),
        user_agent=_user_agent(head),
    )


def printable(value: bytes) -> str:
    """`value` with everything but printable ASCII written as escapes, cut at `LONGEST`."""
    text = value[: LONGEST + 1].decode("ascii", "backslashreplace")
    if not text.isprintable():
        text = text.translate(ESCAPES)
    return text if len(text) <= LONGEST else text[: LONGEST - 3] + "..."


def _user_agent(head: RequestHead) -> str | None:
    for each in head.lines:
        if each[0] in b"uU" and each[:11].lower() == USER_AGENT:
            return printable(each[11:].strip())
    return None


def _rounded(phases: dict[str, float]) -> dict[str, float]:
    return {name: round(duration, 1) for name, duration in phases.items()}
