"""The kinds of web function (SPEC §5), one module each."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from portico.runner.kinds import asgi_app, fastapi_endpoint, web_server, wsgi_app
from portico.runner.kinds.base import Accounts, Builder, Endpoint, WebMethod

BUILDERS: Mapping[str, Builder] = MappingProxyType(
    {
        "asgi_app": asgi_app.build,
        "fastapi_endpoint": fastapi_endpoint.build,
        "wsgi_app": wsgi_app.build,
        "web_server": web_server.build,
    }
)


def build(method: WebMethod, accounts: Accounts) -> Endpoint:
    """The endpoint of `method`, by its kind."""
    return BUILDERS[method.web.kind](method, accounts)
