"""Values as people read them: shares, numbers of events, durations, sizes."""

from __future__ import annotations

from fractions import Fraction
from typing import Final

from cdpd.config.alerts import Unit

_UNITS: Final = ("B", "KiB", "MiB", "GiB", "TiB")


def amount(value: Fraction, unit: Unit) -> str:
    """`91.3 %`, `1,200 events`, `15 min`, `9.4 GiB`."""
    match unit:
        case "percent":
            return f"{_rounded(value)} %"
        case "events":
            return events(int(value))
        case "seconds":
            return duration(float(value))
    size = float(value)
    for name in _UNITS[:-1]:
        if size < 1024:
            return f"{size:.0f} B" if name == "B" else f"{size:.1f} {name}"
        size /= 1024
    return f"{size:.1f} {_UNITS[-1]}"


def _rounded(value: Fraction) -> str:
    """With as many digits as it takes not to look like 0 or 100 where it is not."""
    for digits in (1, 2, 3):
        shown = round(value, digits)
        if shown == value or shown not in (0, 100):
            break
    return f"{float(shown):.{digits}f}".rstrip("0").rstrip(".")


def events(count: int) -> str:
    """`1 event`, `1,200 events`."""
    return f"{count:,} event{'' if count == 1 else 's'}"


def duration(seconds: float) -> str:
    """`40 s`, `15 min`, `1 h 30 min`, `2 d 3 h`."""
    whole = max(int(seconds), 0)
    days, hours, minutes = whole // 86400, whole // 3600, whole // 60
    if whole < 60:
        return f"{whole} s"
    if not hours:
        return f"{minutes} min"
    if days < 2:
        return f"{hours} h {minutes % 60} min" if minutes % 60 else f"{hours} h"
    return f"{days} d {hours % 24} h" if hours % 24 else f"{days} d"
