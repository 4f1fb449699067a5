"""Which traces can be followed (W3C Trace Context)."""

from __future__ import annotations

import re

_TRACE_AND_PARENT = rb"-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}"
TRACEPARENT_FIELD = re.compile(
    rb"00" + _TRACE_AND_PARENT + rb"|(?!00|ff)[0-9a-f]{2}" + _TRACE_AND_PARENT + rb"(?:-.*)?"
)
"""Version 00 is this and no more; later ones begin with it (§3.2, §4.3)."""


def can_be_followed(traceparent: bytes | None) -> bool:
    """Whether it names a trace; one that does not is replaced, and its ``tracestate`` dropped (§4.3)."""
    return traceparent is not None and TRACEPARENT_FIELD.fullmatch(traceparent) is not None
