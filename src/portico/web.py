"""Decorators that give a function or a method a URL."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterable
from typing import Any

from portico.callables import (
    AnyCallable,
    display_name,
    in_class_body,
    is_async,
    is_generator,
    own_parameters,
    refuse_bare,
)
from portico.checks import positive, text, whole
from portico.exception import InvalidError
from portico.partial_function import (
    PartialDecorator,
    PartialFunction,
    declared_in,
    give_role,
    undecorated,
)
from portico.wire.manifest import WebKind, WebSpec
from portico.wire.names import label_problem

HTTP_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "TRACE")
HOST_NAME = re.compile(r"(?=.{1,253}$)(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z0-9-]{2,63}")


def fastapi_endpoint(
    *bare: object,
    method: str = "GET",
    label: str | None = None,
    custom_domains: Iterable[str] | None = None,
    docs: bool = False,
    requires_proxy_auth: bool = False,
) -> PartialDecorator:
    """Serve the function as the one route of a FastAPI app, which the function's image must have installed.

    `method` is the HTTP method; `label` replaces the first part of the URL; `docs` adds ``/docs`` and
    ``/openapi.json``; `requires_proxy_auth` asks for ``Modal-Key`` and ``Modal-Secret``.
    """
    refuse_bare("fastapi_endpoint", bare)
    verb = method.upper()
    if verb not in HTTP_METHODS:
        raise InvalidError(f"{method!r} is no HTTP method; use one of {', '.join(HTTP_METHODS)}")
    spec = _spec(
        "fastapi_endpoint", label, custom_domains, requires_proxy_auth, method=verb, docs=docs
    )
    return _decorator(spec, _check_handler)


def web_endpoint(
    *bare: object,
    method: str = "GET",
    label: str | None = None,
    custom_domains: Iterable[str] | None = None,
    docs: bool = False,
    requires_proxy_auth: bool = False,
) -> PartialDecorator:
    """Former name of `fastapi_endpoint`."""
    warnings.warn(
        "@web_endpoint is now called @fastapi_endpoint, with the same options",
        DeprecationWarning,
        stacklevel=2,
    )
    refuse_bare("web_endpoint", bare)
    return fastapi_endpoint(
        method=method,
        label=label,
        custom_domains=custom_domains,
        docs=docs,
        requires_proxy_auth=requires_proxy_auth,
    )


def asgi_app(
    *bare: object,
    label: str | None = None,
    custom_domains: Iterable[str] | None = None,
    requires_proxy_auth: bool = False,
) -> PartialDecorator:
    """Serve the ASGI app that the function returns; it is called once per container."""
    refuse_bare("asgi_app", bare)
    return _decorator(_spec("asgi_app", label, custom_domains, requires_proxy_auth), _check_factory)


def wsgi_app(
    *bare: object,
    label: str | None = None,
    custom_domains: Iterable[str] | None = None,
    requires_proxy_auth: bool = False,
) -> PartialDecorator:
    """Serve the WSGI app that the function returns; it is called once per container, requests on threads."""
    refuse_bare("wsgi_app", bare)
    return _decorator(_spec("wsgi_app", label, custom_domains, requires_proxy_auth), _check_factory)


def web_server(
    port: int,
    *,
    startup_timeout: float = 5.0,
    label: str | None = None,
    custom_domains: Iterable[str] | None = None,
    requires_proxy_auth: bool = False,
) -> PartialDecorator:
    """Serve whatever listens on `port` after the function was called, once per container.

    The server has `startup_timeout` seconds to accept connections, on 0.0.0.0 rather than on localhost.
    """
    if callable(port) or isinstance(port, PartialFunction):
        raise InvalidError("@web_server needs the port: write @web_server(8000)")
    if not 1 <= whole("port", port, least=0) <= 65535:
        raise InvalidError(f"there is no port {port}; use one from 1 to 65535")
    spec = _spec(
        "web_server",
        label,
        custom_domains,
        requires_proxy_auth,
        port=port,
        startup_timeout=positive("startup_timeout", startup_timeout),
    )
    return _decorator(spec, _check_factory)


def web_methods(user_class: type) -> dict[str, tuple[AnyCallable, WebSpec]]:
    """The raw web methods of a class, each taking ``self``, by name, in definition order."""
    return {
        name: (partial.raw, partial.web)
        for name, partial in declared_in(user_class).items()
        if partial.web is not None
    }


def _spec(
    kind: WebKind,
    label: str | None,
    custom_domains: Iterable[str] | None,
    requires_proxy_auth: bool,
    **rest: Any,
) -> WebSpec:
    if label is not None and (problem := label_problem(text("label", label))):
        raise InvalidError(problem)
    if isinstance(custom_domains, str):
        raise InvalidError(f"custom_domains is a list: write custom_domains=[{custom_domains!r}]")
    domains = tuple(domain.lower().rstrip(".") for domain in custom_domains or ())
    for domain in domains:
        if not HOST_NAME.fullmatch(domain):
            raise InvalidError(
                f"custom domain {domain!r} is no host name; write it like 'api.example.com', without a "
                "scheme or a port"
            )
    return WebSpec(
        kind=kind,
        label=label,
        custom_domains=domains,
        requires_proxy_auth=requires_proxy_auth,
        **rest,
    )


def _decorator(spec: WebSpec, check: Callable[[AnyCallable, str], None]) -> PartialDecorator:
    def decorate(target: Any) -> PartialFunction[Any, Any]:
        check(undecorated(target, spec.kind), spec.kind)
        return give_role(target, spec)

    return decorate


def _check_handler(raw: AnyCallable, kind: str) -> None:
    if is_generator(raw):
        raise InvalidError(
            f"{display_name(raw)} is a generator, which @{kind} cannot serve; return a "
            "fastapi.responses.StreamingResponse around the generator instead"
        )


def _check_factory(raw: AnyCallable, kind: str) -> None:
    name = display_name(raw)
    if is_async(raw):
        raise InvalidError(
            f"{name} is `async def`, but @{kind} calls it before the event loop serves; make it a plain "
            "`def` and do asynchronous work in the app's lifespan"
        )
    if is_generator(raw):
        raise InvalidError(f"{name} is a generator; @{kind} needs a function that returns")
    if in_class_body(raw):
        if own_parameters(raw):
            raise InvalidError(
                f"{name} takes arguments, but nothing can give them to @{kind}; let it take self only and "
                "declare the values on the class with portico.parameter()"
            )
    elif own_parameters(raw):
        raise InvalidError(
            f"{name} takes arguments, but nothing can give them to @{kind}; for values that callers choose "
            "make it a method of an @app.cls() class and declare them with portico.parameter()"
        )
