"""Sizes, times and counts as people write them in options, variables and the config file."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator

UNITS = {"": 1, "b": 1, "kib": 1024, "mib": 1024**2, "gib": 1024**3}
SIZE = re.compile(r"(\d{1,18}(?:\.\d{1,9})?) *([a-z]*)")
LONGEST = 7 * 86_400  # seconds


class Size(int):
    """Bytes; printed as people write them, in the largest unit of which they are a whole number."""

    def __str__(self) -> str:
        for unit in ("GiB", "MiB", "KiB"):
            whole, rest = divmod(int(self), UNITS[unit.lower()])
            if not rest:
                return f"{whole}{unit}"
        return f"{int(self)}"


def _size(value: Any) -> Size:
    found = SIZE.fullmatch(str(value).strip().lower())
    if found is None or found[2] not in UNITS:
        raise ValueError(
            f"{str(value)!r} is not a size: write bytes, or a number with KiB, MiB or GiB, such as 64KiB"
        )
    size = Decimal(found[1]) * UNITS[found[2]]
    if size < 1 or size != int(size):
        raise ValueError(f"{str(value)!r} is not a whole number of bytes, 1 or more")
    return Size(size)


def _seconds(value: Any) -> float:
    try:
        seconds = float(value)
    except (TypeError, ValueError):
        seconds = -1.0
    if isinstance(value, bool) or not 0 < seconds <= LONGEST:
        raise ValueError(
            f"{str(value)!r} is not a number of seconds, more than 0 and at most {LONGEST}"
        )
    return seconds


def _count(value: Any) -> int:
    text = str(value)
    if not re.fullmatch(r"[0-9]{1,9}", text) or not int(text):
        raise ValueError(f"{text!r} is not a whole number, 1 or more")
    return int(text)


def _count_or_auto(value: Any) -> int | str:
    return "auto" if value == "auto" else _count(value)


Bytes = Annotated[Size, BeforeValidator(_size)]
"""A size of at least one byte: ``64KiB``, ``1.5 GiB``, ``1000``."""
Seconds = Annotated[float, BeforeValidator(_seconds)]
"""A time of up to a week."""
CountOrAuto = Annotated[int | Literal["auto"], BeforeValidator(_count_or_auto)]
"""A number from one on, or ``auto``."""
Count = Annotated[int, BeforeValidator(_count)]
"""A number from one on."""
