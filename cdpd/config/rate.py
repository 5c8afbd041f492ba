"""Rates as people write them: `100/s`, `6000/m`, `1000/10s`."""

from __future__ import annotations

import re
from typing import Final

from msgspec import Struct

FORM: Final = "a count and a time, like 100/s, 6000/m or 50/10s"
_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_RATE: Final = re.compile(r"(\d{1,9}) ?/ ?(\d{1,6})?(s|m|h|d)", re.ASCII)


class Rate(Struct, frozen=True):
    """So many in so many seconds, and so many at once."""

    count: int
    seconds: float


def parse_rate(text: str) -> Rate:
    """The rate in `text`. Raises ValueError."""
    match = _RATE.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{text!r} is no rate: write {FORM}")
    count, seconds = int(match[1]), int(match[2] or 1) * _SECONDS[match[3]]
    if not count or not seconds:
        raise ValueError(f"{text!r} would let nothing through: write {FORM}")
    return Rate(count, float(seconds))
