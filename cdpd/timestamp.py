"""Timestamps: whatever a client calls a time → milliseconds since the epoch → `YYYY-MM-DDTHH:MM:SS.mmmZ`.

Source of the rules: spec/wire.md §9 (formats seen from real SDKs), spec/event-spec.md §6.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MS = timedelta(milliseconds=1)
_ISO = re.compile(
    r"\d{4}-\d\d-\d\d(?:[Tt ]\d\d:\d\d(?::\d\d(?:[.,]\d{1,9})?)?(?: ?(?:[Zz]|[+-]\d\d(?::?\d\d)?))?)?",
    re.ASCII,
)
# Numbers below this are seconds since the epoch, others milliseconds (10^11 ms is March 1973).
_SECONDS_BELOW = 100_000_000_000
MIN_MS = (datetime(1, 1, 1, tzinfo=UTC) - _EPOCH) // _MS
MAX_MS = (datetime(9999, 12, 31, 23, 59, 59, 999000, tzinfo=UTC) - _EPOCH) // _MS


def parse_time(value: object) -> int | None:
    """Milliseconds since the epoch, or None where `value` is no time.

    Accepts ISO 8601 with 0 to 9 fraction digits, `Z` or an offset, a space for the `T`, no zone (read as
    UTC), a bare date (midnight UTC), and numbers: epoch seconds below 10^11, else epoch milliseconds.
    Digits finer than a millisecond are cut.
    """
    if isinstance(value, str):
        text = value.strip()
        if not _ISO.fullmatch(text):
            return None
        try:
            moment = datetime.fromisoformat(
                text.replace(" +", "+").replace(" -", "-").replace(" Z", "Z").upper()
            )
        except ValueError:
            return None
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        return (moment - _EPOCH) // _MS
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    if value != value or not -1e15 < value < 1e15:  # NaN, or beyond any calendar
        return None
    ms = int(value * 1000) if abs(value) < _SECONDS_BELOW else int(value)
    return ms if MIN_MS <= ms <= MAX_MS else None


def format_time(ms: int) -> str:
    """`YYYY-MM-DDTHH:MM:SS.mmmZ`. Raises OverflowError outside the years 1 to 9999."""
    return (_EPOCH + timedelta(milliseconds=ms)).isoformat(timespec="milliseconds")[:-6] + "Z"
