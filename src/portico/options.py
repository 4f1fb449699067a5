"""Options of ``@app.function`` and ``@app.cls``: what users write, and what it settles to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypedDict, TypeVar

import msgspec

from portico.checks import positive, variables, whole
from portico.exception import InvalidError
from portico.image import Image
from portico.partial_function import Concurrency
from portico.retries import Retries
from portico.secret import Secret
from portico.wire import manifest

T = TypeVar("T")

DEFAULT_TIMEOUT = 300.0  # seconds
DEFAULT_WINDOW = 60.0  # seconds


class Options(TypedDict, total=False):
    """Keyword arguments of ``@app.function`` and ``@app.cls``.

    `cpu` is in cores, `memory` in MiB; `scaledown_window`, `timeout` and `startup_timeout` in seconds. The names in
    each of these pairs mean the same: `min_containers` and `keep_warm`, `max_containers` and `concurrency_limit`,
    `scaledown_window` and `container_idle_timeout`.
    """

    image: Image | None
    secrets: Sequence[Secret]
    env: dict[str, str] | None
    serialized: bool
    cpu: float | None
    memory: int | None
    gpu: str | None
    min_containers: int | None
    max_containers: int | None
    buffer_containers: int | None
    scaledown_window: float | None
    keep_warm: int | None
    concurrency_limit: int | None
    container_idle_timeout: float | None
    allow_concurrent_inputs: int | None
    retries: int | Retries | None
    timeout: float
    startup_timeout: float | None
    enable_memory_snapshot: bool
    name: str | None


SAME_AS = {
    "keep_warm": "min_containers",
    "concurrency_limit": "max_containers",
    "container_idle_timeout": "scaledown_window",
}


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Options, checked and completed."""

    image: Image | None
    secrets: tuple[Secret, ...]
    env: dict[str, str]
    serialized: bool
    cpu: float | None
    memory: int | None
    gpu: str | None
    scaling: manifest.Scaling
    retries: manifest.Retries | None
    timeout: float
    startup_timeout: float
    enable_memory_snapshot: bool
    name: str | None


def settle(written: Options, concurrency: Concurrency | None) -> Settings:
    """`written` checked, with `concurrency` from a decorator below. Raises `InvalidError` naming the fix."""
    options = _one_spelling(dict(written))
    return Settings(
        image=_instance("image", options.get("image"), Image),
        secrets=tuple(checked_secrets(options.get("secrets") or ())),
        env=variables("env", options.get("env") or {}),
        serialized=bool(options.get("serialized", False)),
        cpu=_given(options, "cpu", positive),
        memory=_given(options, "memory", _at_least(1)),
        gpu=_instance("gpu", options.get("gpu"), str),
        scaling=_scaling(options, concurrency),
        retries=_retries(options.get("retries")),
        timeout=_given(options, "timeout", positive) or DEFAULT_TIMEOUT,
        startup_timeout=_given(options, "startup_timeout", positive) or DEFAULT_TIMEOUT,
        enable_memory_snapshot=bool(options.get("enable_memory_snapshot", False)),
        name=_instance("name", options.get("name"), str),
    )


def checked_secrets(secrets: Sequence[Any]) -> Sequence[Secret]:
    """`secrets` if each is one, else `InvalidError`."""
    if isinstance(secrets, (Secret, str)):
        raise InvalidError("secrets is a list: write secrets=[portico.Secret.from_name(...)]")
    for secret in secrets:
        if not isinstance(secret, Secret):
            raise InvalidError(
                f"secrets has {secret!r}, which is no Secret; write portico.Secret.from_name({secret!r})"
            )
    return secrets


def _one_spelling(options: dict[str, Any]) -> dict[str, Any]:
    known = Options.__annotations__
    for name in options:
        if name not in known:
            import difflib

            close = difflib.get_close_matches(name, known, 1)
            hint = f"; did you mean {close[0]!r}?" if close else f"; there are {', '.join(known)}"
            raise InvalidError(f"there is no option {name!r}{hint}")
    for former, name in SAME_AS.items():
        if options.get(former) is None:
            continue
        if options.get(name) is not None:
            raise InvalidError(f"{former} and {name} are two names of one option; give one of them")
        options[name] = options[former]
    return options


def _scaling(options: dict[str, Any], concurrency: Concurrency | None) -> manifest.Scaling:
    allowed = options.get("allow_concurrent_inputs")
    if allowed is not None:
        if concurrency is not None:
            raise InvalidError(
                "allow_concurrent_inputs and @concurrent say the same; keep @concurrent"
            )
        concurrency = Concurrency(whole("allow_concurrent_inputs", allowed, 1), None)
    least = _given(options, "min_containers", _at_least(0)) or 0
    most = _given(options, "max_containers", _at_least(1))
    if most is not None and least > most:
        raise InvalidError(
            f"min_containers={least} is more than max_containers={most}; lower the one or raise the other"
        )
    return manifest.Scaling(
        min_containers=least,
        max_containers=most,
        buffer_containers=_given(options, "buffer_containers", _at_least(0)) or 0,
        scaledown_window=_given(options, "scaledown_window", positive) or DEFAULT_WINDOW,
        max_inputs=concurrency.max_inputs if concurrency else 1,
        target_inputs=concurrency.target_inputs if concurrency else None,
    )


def _retries(value: int | Retries | None) -> manifest.Retries | None:
    if value is None or isinstance(value, Retries):
        return value.spec if value else None
    # A bare number retries at a steady pace, as in the reference.
    return Retries(max_retries=whole("retries", value, 0), backoff_coefficient=1.0).spec


def _given(options: dict[str, Any], name: str, check: Callable[[str, Any], T]) -> T | None:
    value = options.get(name)
    return None if value is None else check(name, value)


def _at_least(least: int) -> Callable[[str, Any], int]:
    return lambda name, value: whole(name, value, least)


def _instance(name: str, value: Any, kind: type) -> Any:
    if value is not None and not isinstance(value, kind):
        raise InvalidError(f"{name} must be of type {kind.__name__}, not {value!r}")
    return value
