"""What a manifest must be before anything is built for it, and what it says about its functions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from portico.control.errors import InvalidRequestError
from portico.control.naming import Site
from portico.pools.errors import BadParameter
from portico.pools.parameters import checked
from portico.wire.api import FunctionInfo
from portico.wire.manifest import (
    AppManifest,
    FunctionSpec,
    MethodSpec,
    NamedSecret,
    ParameterSpec,
)
from portico.wire.names import app_name_problem, environment_problem


def check(manifest: AppManifest, app_name: str) -> None:
    """Raise `InvalidRequestError` for a manifest that contradicts itself or its app."""
    if manifest.name != app_name:
        raise InvalidRequestError(f"this is app {app_name!r}, the manifest is of {manifest.name!r}")
    check_app_name(manifest.name)
    seen: set[str] = set()
    for function in manifest.functions:
        if function.name in seen:
            raise InvalidRequestError(f"two functions are called {function.name!r}: rename one")
        seen.add(function.name)
        if function.image not in manifest.images:
            raise InvalidRequestError(
                f"function {function.name!r} names the image {function.image!r}, "
                "which is not in the manifest"
            )
        if not function.methods or (not function.is_class and len(function.methods) != 1):
            raise InvalidRequestError(f"function {function.name!r} has the wrong number of methods")
        for parameter in function.parameters:
            _check_default(function, parameter)


def _check_default(function: FunctionSpec, parameter: ParameterSpec) -> None:
    try:
        if parameter.default is not None:
            checked(parameter, parameter.default)
    except BadParameter as error:
        raise InvalidRequestError(f"a default of {function.name!r} is of no use: {error}") from None


def check_app_name(name: str) -> None:
    """Raise `InvalidRequestError` for an app name that no URL can carry."""
    problem = app_name_problem(name)
    if problem is not None:
        raise InvalidRequestError(problem)


def check_environment(name: str) -> None:
    """Raise `InvalidRequestError` for an environment that no URL can carry."""
    problem = environment_problem(name)
    if problem is not None:
        raise InvalidRequestError(problem)


def named_secrets(manifest: AppManifest) -> Iterator[NamedSecret]:
    """Every reference to a stored secret."""
    for function in manifest.functions:
        for secret in function.secrets:
            if isinstance(secret, NamedSecret):
                yield secret


def public_methods(manifest: AppManifest) -> Iterator[tuple[str, FunctionSpec, MethodSpec]]:
    """Every callable of the app with its public name."""
    for function in manifest.functions:
        for method in function.methods:
            yield function.public_name(method), function, method


def names_with_ids(manifest: AppManifest) -> list[str]:
    """What has an id of its own: functions, classes, and the methods of classes."""
    names = [function.name for function in manifest.functions]
    names += [public for public, _, _ in public_methods(manifest)]
    return list(dict.fromkeys(names))


def function_infos(
    manifest: AppManifest,
    site: Site,
    ids: Mapping[str, str],
    hosts: Mapping[str, Sequence[str]],
    ports: Mapping[str, int],
) -> list[FunctionInfo]:
    """The app's public functions as listings show them."""
    return [
        FunctionInfo(
            name=public,
            id=ids[public],
            kind="function" if method.web is None else method.web.kind,
            urls=[] if method.web is None else site.urls(hosts[public], ports.get(public)),
        )
        for public, _, method in public_methods(manifest)
    ]
