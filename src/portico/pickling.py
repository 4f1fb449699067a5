"""Pickling of user values; cloudpickle is loaded by the first of them."""

from __future__ import annotations

from types import ModuleType
from typing import Any

from portico.exception import DeserializationError, SerializationError


def dumps(value: object, what: str) -> bytes:
    """`value` as cloudpickle bytes. Raises `SerializationError` that speaks of `what`."""
    import cloudpickle  # type: ignore[import-untyped]

    try:
        return bytes(cloudpickle.dumps(value))
    except Exception as error:
        raise SerializationError(
            f"{what} cannot be pickled: {error}; use plain data, or what is needed to make the object"
        ) from error


def dumps_by_value(value: object, what: str, module: ModuleType | None) -> bytes:
    """Like `dumps`, with everything `value` refers to in `module`, which the reader does not have."""
    import cloudpickle

    # Of __main__ cloudpickle takes everything by value by itself.
    if module is None or module.__name__ == "__main__":
        return dumps(value, what)
    cloudpickle.register_pickle_by_value(module)
    try:
        return dumps(value, what)
    finally:
        cloudpickle.unregister_pickle_by_value(module)


def loads(payload: bytes, what: str) -> Any:
    """The value in `payload`. Raises `DeserializationError` that speaks of `what`."""
    import cloudpickle

    try:
        return cloudpickle.loads(payload)
    except Exception as error:
        raise DeserializationError(
            f"{what} cannot be unpickled here: {error}; install what it is made of, or use plain data"
        ) from error
