"""The FastAPI application of the control API."""

from __future__ import annotations

from fastapi import FastAPI
from starlette.responses import PlainTextResponse, Response

from portico.control.api import problems
from portico.control.api.auth import RequireToken
from portico.control.api.bodies import Schemas
from portico.control.api.headers import PrivateAnswers
from portico.control.api.routes import Services, all_routes


def create_api(services: Services, version: str) -> FastAPI:
    """The API over `services`; every path but ``/openapi.json`` and ``/healthz`` wants a token."""
    api = FastAPI(title="Portico control API", version=version, docs_url=None, redoc_url=None)
    schemas = Schemas()
    for router in all_routes(services, schemas):
        api.include_router(router)

    @api.get("/healthz", response_class=PlainTextResponse, openapi_extra={"security": []})
    async def healthz() -> Response:
        """Whether the API answers."""
        return PlainTextResponse("ok\n")

    schemas.install(api)
    problems.install(api)
    api.add_middleware(RequireToken, tokens=services.tokens)
    api.add_middleware(PrivateAnswers)  # around the former
    return api
