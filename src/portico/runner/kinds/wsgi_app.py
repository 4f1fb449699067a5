"""``wsgi_app``: the function returns the app."""

from __future__ import annotations

import inspect

from portico.runner.failures import CannotServe
from portico.runner.kinds.base import Accounts, Endpoint, WebMethod
from portico.runner.wsgi.endpoint import WsgiEndpoint


def build(method: WebMethod, accounts: Accounts) -> Endpoint:
    """Call the function once and serve what it returns."""
    app = method.target()
    name = getattr(method.target, "__qualname__", "the function")
    if not callable(app):
        raise CannotServe(
            f"{name} returned {type(app).__name__}, which is no WSGI app: return the app object itself"
        )
    if inspect.iscoroutinefunction(app) or inspect.iscoroutinefunction(type(app).__call__):
        raise CannotServe(
            f"{name} returned an ASGI app ({type(app).__name__}): use @asgi_app instead of @wsgi_app"
        )
    return WsgiEndpoint(app, accounts.inputs, accounts.websockets, accounts.slots)
