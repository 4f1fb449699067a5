"""The gateway's own answers: ``application/problem+json`` (RFC 9457)."""

from __future__ import annotations

import msgspec

from portico.gateway.head import REASONS
from portico.pools.endpoint import Endpoint
from portico.pools.errors import (
    BadParameter,
    NeedsGpu,
    PoolError,
    PoolsInUse,
    PoolStopped,
    QueueFull,
    StartFailed,
)
from portico.wire.api import Problem

MAX_DETAIL = 16_384  # characters; a traceback longer than this keeps its end

OUTCOMES = {
    400: "bad_request",
    401: "unauthorized",
    404: "not_found",
    408: "slow_head",
    413: "body_too_large",
    422: "bad_parameter",
    429: "rate_limited",
    431: "head_too_large",
    501: "not_implemented",
    502: "container_lost",
    503: "unavailable",
    504: "timeout",
    505: "bad_version",
}
"""What metrics and the access log call a refusal where its status says enough."""


class Refusal(Exception):
    """The gateway answers this request by itself; `outcome` is the reason in a word.

    `endpoint` is where the request was on its way to, if it had got so far.
    """

    def __init__(
        self,
        status: int,
        detail: str,
        *,
        outcome: str = "",
        endpoint: Endpoint | None = None,
        retry_after: int | None = None,
        extra: bytes = b"",
    ) -> None:
        super().__init__(detail)
        self.outcome = outcome or OUTCOMES.get(status, "refused")
        self.endpoint = endpoint
        self.status = status
        self.detail = detail
        self.retry_after = retry_after
        self.extra = extra


def encode(refusal: Refusal, request_id: bytes, *, close: bool, head_only: bool) -> bytes:
    """A whole response; `head_only` leaves the body out (HEAD)."""
    reason = REASONS.get(refusal.status, b"")
    detail = refusal.detail
    if len(detail) > MAX_DETAIL:
        detail = "…" + detail[-MAX_DETAIL:]
    body = msgspec.json.encode(
        Problem(
            title=reason.decode(),
            status=refusal.status,
            detail=detail,
            request_id=request_id.decode() or None,
        )
    )
    lines = [
        b"HTTP/1.1 %d %b\r\n" % (refusal.status, reason),
        b"content-type: application/problem+json\r\ncontent-length: %d\r\n" % len(body),
    ]
    if request_id:
        lines.append(b"x-request-id: %b\r\n" % request_id)
    if refusal.retry_after is not None:
        lines.append(b"retry-after: %d\r\n" % refusal.retry_after)
    if refusal.extra:
        lines.append(refusal.extra)
    if close:
        lines.append(b"connection: close\r\n")
    lines.append(b"\r\n")
    if not head_only:
        lines.append(body)
    return b"".join(lines)


def too_large(limit: int) -> Refusal:
    """The request's body is larger than `limit` bytes."""
    return Refusal(413, f"request bodies can be up to {limit} bytes")


def of_pool_error(error: PoolError, *, traceback: bool) -> Refusal:
    """The answer to an input that got no slot; `traceback` says whether the user's own may be shown."""
    if isinstance(error, BadParameter):
        return Refusal(422, str(error))
    if isinstance(error, (QueueFull, PoolsInUse)):
        outcome = "queue_full" if isinstance(error, QueueFull) else "pools_in_use"
        return Refusal(429, str(error), outcome=outcome, retry_after=error.retry_after)
    if isinstance(error, NeedsGpu):
        return Refusal(503, str(error))
    if isinstance(error, PoolStopped):
        return Refusal(404, str(error))
    if isinstance(error, StartFailed):
        detail = error.message
        if traceback and error.traceback:
            detail = f"{detail}\n\n{error.traceback}"
        return Refusal(503, detail, outcome="start_failed", retry_after=1)
    return Refusal(503, str(error), outcome="start_timeout", retry_after=1)
