"""msgspec records as bodies and answers, and their schemas in OpenAPI."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import msgspec
from fastapi import FastAPI, Request
from fastapi.openapi.utils import get_openapi
from starlette.responses import Response

from portico.control.errors import InvalidRequestError, TooLargeError
from portico.wire.api import Problem

T = TypeVar("T")

MAX_BODY = 1 << 20  # bytes of JSON
MAX_LARGE_BODY = 64 << 20  # of a manifest, a call, a list of files
REF = "#/components/schemas/{name}"


async def read(request: Request, type: type[T], limit: int = MAX_BODY) -> T:
    """The request's JSON body as `type`. Raises `InvalidRequestError` and `TooLargeError`."""
    too_large = TooLargeError(f"this request may have at most {limit} bytes: upload files as blobs")
    if declared_length(request) > limit:
        raise too_large
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > limit:
            raise too_large
    try:
        return msgspec.json.decode(body, type=type)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:  # the latter of text in the JSON
        raise InvalidRequestError(f"the body is not a valid {type.__name__}: {error}") from error
    except RecursionError:
        raise InvalidRequestError("the body is nested too deeply") from None


def declared_length(request: Request) -> int:
    """What ``Content-Length`` says, 0 where it says nothing; the server has checked that it is a number."""
    return int(request.headers.get("content-length", 0))


def answer(record: object, status: int = 200) -> Response:
    """`record` as a JSON answer."""
    return Response(msgspec.json.encode(record), status, media_type="application/json")


class Schemas:
    """Collects what routes take and give, and describes it in the app's OpenAPI document."""

    def __init__(self) -> None:
        self._types: list[Any] = [Problem]

    def takes(self, type: Any) -> dict[str, Any]:
        """`openapi_extra` of a route whose body is `type`."""
        content = {"application/json": {"schema": self._schema(type)}}
        return {"requestBody": {"required": True, "content": content}}

    def takes_bytes(self) -> dict[str, Any]:
        """`openapi_extra` of a route whose body is a file."""
        content = {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}
        return {"requestBody": {"required": True, "content": content}}

    def gives(self, type: Any, media_type: str = "application/json") -> dict[int | str, Any]:
        """`responses` of a route that answers with `type`; of a stream, the type of one line."""
        return {
            200: {"description": "Done", "content": {media_type: {"schema": self._schema(type)}}},
            **self.gives_nothing(),
        }

    def gives_nothing(self) -> dict[int | str, Any]:
        """`responses` of a route whose answer has no body; what is no success is a problem."""
        content = {"application/problem+json": {"schema": self._schema(Problem)}}
        return {"default": {"description": "Problem", "content": content}}

    def install(self, app: FastAPI) -> None:
        """Have `app` serve a document with all the records."""
        app.openapi = self._document_of(app)  # type: ignore[method-assign]

    def _schema(self, type: Any) -> Any:
        self._types.append(type)
        (schema,), _ = msgspec.json.schema_components([type], ref_template=REF)
        return schema

    def _document_of(self, app: FastAPI) -> Callable[[], dict[str, Any]]:
        def document() -> dict[str, Any]:
            if app.openapi_schema is None:
                made = get_openapi(title=app.title, version=app.version, routes=app.routes)
                _, records = msgspec.json.schema_components(self._types, ref_template=REF)
                components = made.setdefault("components", {})
                components.setdefault("schemas", {}).update(records)
                components["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
                made["security"] = [{"token": []}]
                app.openapi_schema = made
            return app.openapi_schema

        return document
