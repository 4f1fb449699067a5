"""``asgi_app``: the function returns the app."""

from __future__ import annotations

from portico.runner.failures import CannotServe
from portico.runner.kinds.base import Accounts, Endpoint, WebMethod
from portico.runner.serving import AsgiEndpoint


def build(method: WebMethod, accounts: Accounts) -> Endpoint:
    """Call the function once and serve what it returns."""
    app = method.target()
    if not callable(app):
        name = getattr(method.target, "__qualname__", "the function")
        raise CannotServe(
            f"{name} returned {type(app).__name__}, which is no ASGI app: return the app object itself"
        )
    return AsgiEndpoint(app, accounts.inputs, accounts.websockets)
