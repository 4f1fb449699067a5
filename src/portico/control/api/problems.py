"""RFC 9457 answers for every error, the framework's own included."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from http import HTTPStatus

import msgspec
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import Response

from portico.control.errors import BusyError, ControlError
from portico.wire.api import Problem
from portico.wire.ids import new_id

logger = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"


def problem(
    status: int, title: str, detail: str = "", headers: Mapping[str, str] | None = None
) -> Response:
    """A problem answer with a request id of its own."""
    request_id = new_id("rq")
    body = Problem(title=title, status=status, detail=detail, request_id=request_id)
    return Response(
        msgspec.json.encode(body),
        status,
        {"x-request-id": request_id, **(headers or {})},
        media_type=MEDIA_TYPE,
    )


def install(app: FastAPI) -> None:
    """Have `app` answer every error with a problem."""
    app.add_exception_handler(ControlError, _refused)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(RequestValidationError, _malformed)
    app.add_exception_handler(ClientDisconnect, _left)
    app.add_exception_handler(Exception, _crashed)


async def _refused(_request: Request, error: Exception) -> Response:
    assert isinstance(error, ControlError)
    detail = f"{error.message}\n{error.detail}" if error.detail else error.message
    headers = {"retry-after": str(error.retry_after)} if isinstance(error, BusyError) else None
    return problem(error.status, error.title, detail, headers)


async def _http(_request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    title = HTTPStatus(error.status_code).phrase
    detail = "" if error.detail == title else str(error.detail)
    return problem(error.status_code, title, detail, error.headers)


async def _malformed(_request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    faults = [f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()]
    return problem(422, "Unprocessable content", "; ".join(faults))


async def _left(_request: Request, _error: Exception) -> Response:
    return problem(
        400, "Bad request", "the request ended before it was whole"
    )  # which nobody reads


async def _crashed(request: Request, error: Exception) -> Response:
    answer = problem(500, "Internal error", "the server failed: see its log")
    request_id = answer.headers["x-request-id"]
    # The framework raises the error again, which logs its traceback.
    logger.error("%s %r failed (%s): %r", request.method, request.url.path, request_id, error)
    return answer
