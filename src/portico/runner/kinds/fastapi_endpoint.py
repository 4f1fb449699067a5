"""``fastapi_endpoint``: the function is the one route of a FastAPI app."""

from __future__ import annotations

from portico.runner.asgi import App
from portico.runner.failures import CannotServe
from portico.runner.kinds.base import Accounts, Endpoint, WebMethod
from portico.runner.serving import AsgiEndpoint

MISSING = (
    "@fastapi_endpoint needs FastAPI, and the function's image has none: add "
    '.pip_install("fastapi[standard]") to the image'
)


def build(method: WebMethod, accounts: Accounts) -> Endpoint:
    """Serve the function through FastAPI."""
    return AsgiEndpoint(fastapi_app(method), accounts.inputs, accounts.websockets)


def fastapi_app(method: WebMethod) -> App:
    """The app around `method`: route ``/``, CORS open to any origin with credentials, docs where asked for.

    Raises `CannotServe` where the image has no FastAPI.
    """
    try:
        from fastapi import FastAPI
        from fastapi.middleware.cors import CORSMiddleware
    except ModuleNotFoundError as error:
        if error.name not in ("fastapi", "starlette"):
            raise
        raise CannotServe(MISSING) from None
    docs = method.web.docs
    app = FastAPI(
        title=getattr(method.target, "__name__", "Portico"),
        openapi_url="/openapi.json" if docs else None,
        docs_url="/docs" if docs else None,
        redoc_url="/redoc" if docs else None,
    )
    app.add_api_route("/", method.target, methods=[method.web.method])
    return CORSMiddleware(
        # Around the app and not one of its own middlewares, which the 500 for an exception does not pass: without
        # the headers a browser would hide from the page's script what went wrong.
        app,
        # A wildcard is not valid next to credentials, so the origin that asks is the one that is allowed.
        allow_origin_regex=".*",
        allow_credentials=True,
        allow_methods=["*"],
        allow_headers=["*"],
    )
