"""Values of a parametrized class: read from a query string or from a call, checked against its declaration.

Bytes stay base64 text, as everywhere between processes; the container decodes them.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from urllib.parse import parse_qsl

from portico.pools.errors import BadParameter
from portico.wire.manifest import ParameterSpec, ParameterValue

TRUE = frozenset({"true", "1", "yes", "on"})
FALSE = frozenset({"false", "0", "no", "off"})


def from_query(specs: Sequence[ParameterSpec], query: bytes) -> dict[str, ParameterValue]:
    """Parameters from an URL's query; the first value of a repeated key counts, other keys are the app's.

    Raises `BadParameter`.
    """
    given: dict[str, str] = {}
    for key, text in parse_qsl(query.decode("latin-1"), keep_blank_values=True):
        given.setdefault(key, text)
    return complete(specs, {s.name: _parse(s, given[s.name]) for s in specs if s.name in given})


def complete(
    specs: Sequence[ParameterSpec], given: Mapping[str, ParameterValue]
) -> dict[str, ParameterValue]:
    """`given` with defaults filled in, in the order of declaration. Raises `BadParameter`."""
    values: dict[str, ParameterValue] = {}
    for spec in specs:
        if spec.name in given:
            values[spec.name] = given[spec.name]
        elif spec.required or spec.default is None:
            raise BadParameter(spec.name, f"missing class parameter {spec.name!r} ({spec.type})")
        else:
            values[spec.name] = spec.default
    return values


def _parse(spec: ParameterSpec, text: str) -> ParameterValue:
    try:
        match spec.type:
            case "str":
                return text
            case "int":
                return int(text)
            case "bool":
                return _bool(text)
            case "bytes":
                # A plus sign in a query string means a space; the URL-safe alphabet is taken as well.
                standard = text.translate(str.maketrans(" -_", "++/"))
                return base64.b64encode(base64.b64decode(standard, validate=True)).decode()
    except (ValueError, binascii.Error):
        raise BadParameter(
            spec.name, f"class parameter {spec.name!r} must be {spec.type}, got {text!r}"
        ) from None


def _bool(text: str) -> bool:
    lowered = text.lower()
    if lowered in TRUE:
        return True
    if lowered in FALSE:
        return False
    raise ValueError(text)
