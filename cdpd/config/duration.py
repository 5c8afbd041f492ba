"""Durations as people write them: `90s`, `15m`, `12h`, `7d`, `2w`, and `forever`."""

from __future__ import annotations

import re
from typing import Final

FORM: Final = "a number and s, m, h, d or w, like 90s, 12h or 7d"
_SECONDS: Final = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
_DURATION: Final = re.compile(r"(\d{1,12}(?:\.\d{1,6})?) ?(ms|s|m|h|d|w)", re.ASCII)


def parse_duration(text: str) -> float:
    """Seconds. Raises ValueError for anything that is no duration, `forever` included."""
    match = _DURATION.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{text!r} is no duration: write {FORM}")
    return float(match[1]) * _SECONDS[match[2]]


def parse_keep(text: str) -> float | None:
    """Seconds, or None for `forever`. Raises ValueError."""
    if text.strip() == "forever":
        return None
    try:
        return parse_duration(text)
    except ValueError:
        raise ValueError(f"{text!r} is no duration: write {FORM}, or forever") from None
