"""Values of a parametrized class: read from a query string or from a call, checked against its declaration.

Bytes stay base64 text, as everywhere between processes; the container decodes them.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Mapping, Sequence
from urllib.parse import unquote_to_bytes

from portico.pools.errors import BadParameter
from portico.wire.manifest import (
    LARGEST_INT,
    SMALLEST_INT,
    ParameterSpec,
    ParameterType,
    ParameterValue,
)

Values = tuple[ParameterValue, ...]
"""A value for each parameter, in the order of declaration: the key of a pool."""

# The spellings that Pydantic takes, so that a handler which reads the same parameter agrees.
BOOLEANS = {
    **dict.fromkeys((b"true", b"t", b"yes", b"y", b"on", b"1"), True),
    **dict.fromkeys((b"false", b"f", b"no", b"n", b"off", b"0"), False),
}
INTEGER = re.compile(rb"[+-]?[0-9]{1,40}")
TO_STANDARD = bytes.maketrans(b"-_", b"+/")  # from the URL-safe alphabet of base64
SHOWN = 80  # characters of a refused value in the answer


class Parameters:
    """The parameters of one class. Every method raises `BadParameter` for values that it does not take."""

    def __init__(self, specs: Sequence[ParameterSpec]) -> None:
        self._specs = {spec.name: spec for spec in specs}
        self._by_key = {spec.name.encode(): spec for spec in specs}

    def from_query(self, query: bytes) -> Values:
        """Values from an URL's query; the first of a repeated key counts, other keys are the app's."""
        given: dict[str, ParameterValue] = {}
        for pair in query.split(b"&"):
            key, _, text = pair.partition(b"=")
            if b"%" in key:
                key = unquote_to_bytes(key)
            spec = self._by_key.get(key)
            if spec is not None and spec.name not in given:
                given[spec.name] = _parsed(spec, text)
        return self._complete(given)

    def from_values(self, given: Mapping[str, ParameterValue]) -> Values:
        """Values from a call, completed by defaults; nothing is cast."""
        for name in given:
            if name not in self._specs:
                expected = ", ".join(self._specs) or "none"
                raise BadParameter(
                    name, f"there is no class parameter {name!r}; there is: {expected}"
                )
        return self._complete({n: checked(self._specs[n], value) for n, value in given.items()})

    def carried_over(self, older: Parameters, values: Values) -> Values:
        """What becomes of `values` of an `older` version of the class.

        Parameters that are no more are dropped, as a query's other keys are, and an old default gives way to
        the new one.
        """
        given = {
            name: value
            for (name, spec), value in zip(older._specs.items(), values, strict=True)
            if name in self._specs and value != spec.default
        }
        return self.from_values(given)

    def named(self, values: Values) -> dict[str, ParameterValue]:
        """`values` with the names of their parameters."""
        return dict(zip(self._specs, values, strict=True))

    @property
    def all_have_defaults(self) -> bool:
        """Whether an empty query gives values."""
        return all(spec.default is not None for spec in self._specs.values())

    def _complete(self, given: Mapping[str, ParameterValue]) -> Values:
        values = []
        for name, spec in self._specs.items():
            value = given.get(name, spec.default)
            if value is None:
                raise BadParameter(
                    name, f"class parameter {name!r} ({spec.type}) is missing and has no default"
                )
            values.append(value)
        return tuple(values)


def checked(spec: ParameterSpec, value: ParameterValue) -> ParameterValue:
    """`value` as it came from another process, in its one spelling. Raises `BadParameter`."""
    if spec.type == "bytes" and isinstance(value, str):
        try:
            return _bytes(value.encode())
        except ValueError:
            raise _ill_typed(spec, value) from None
    fits = {"str": str, "int": int, "bool": bool}.get(spec.type) is type(value)
    if not fits or (spec.type == "int" and not SMALLEST_INT <= value <= LARGEST_INT):  # type: ignore[operator]
        raise _ill_typed(spec, value)
    return value


def _parsed(spec: ParameterSpec, text: bytes) -> ParameterValue:
    # In a form's encoding a plus sign is a space, which base64 does not have.
    text = text if spec.type == "bytes" else text.replace(b"+", b" ")
    text = unquote_to_bytes(text) if b"%" in text else text
    try:
        return PARSERS[spec.type](text)
    except ValueError:
        raise _ill_typed(spec, text.decode(errors="backslashreplace")) from None


def _str(text: bytes) -> str:
    return text.decode()


def _int(text: bytes) -> int:
    if not INTEGER.fullmatch(text):
        raise ValueError
    number = int(text)
    if not SMALLEST_INT <= number <= LARGEST_INT:
        raise ValueError
    return number


def _bool(text: bytes) -> bool:
    value = BOOLEANS.get(text.lower())
    if value is None:
        raise ValueError
    return value


def _bytes(text: bytes) -> str:
    """Base64 in the standard or the URL-safe alphabet, padded or not, in its one standard spelling."""
    if not text.endswith(b"="):
        text += b"=" * (-len(text) % 4)
    decoded = base64.b64decode(text.translate(TO_STANDARD), validate=True)
    return base64.b64encode(decoded).decode()


PARSERS: Mapping[ParameterType, Callable[[bytes], ParameterValue]] = {
    "str": _str,
    "int": _int,
    "bool": _bool,
    "bytes": _bytes,
}
EXPECTED: Mapping[ParameterType, str] = {
    "str": "str (UTF-8)",
    "int": "int (of 64 bits)",
    "bool": "bool (true or false)",
    "bytes": "bytes (as base64)",
}


def _ill_typed(spec: ParameterSpec, value: object) -> BadParameter:
    shown = repr(value)
    shown = shown if len(shown) <= SHOWN else f"{shown[:SHOWN]}…"
    return BadParameter(
        spec.name,
        f"class parameter {spec.name!r} must be {EXPECTED[spec.type]}, and {shown} is not",
    )
