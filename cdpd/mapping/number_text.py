"""Numbers as text, the way JavaScript writes them."""

from __future__ import annotations

import math
from decimal import Decimal


def number_text(value: int | float) -> str:
    """A number as JavaScript writes it: `10.0` as 10, `1e-07` as 1e-7; an integer of any size in full."""
    if isinstance(value, int):
        return int_text(value)
    if not math.isfinite(value):
        return "NaN" if value != value else "Infinity" if value > 0 else "-Infinity"
    if value.is_integer() and abs(value) < 1e21:
        return str(int(value))
    text = repr(value)
    mantissa, mark, exponent = text.partition("e")
    if not mark:
        return text
    if 1e-6 <= abs(value) < 1e21:
        return format(Decimal(text), "f")
    return f"{mantissa}e{'-' if value and abs(value) < 1 else '+'}{abs(int(exponent))}"


def int_text(value: int) -> str:
    """An integer in full, or where Python will not (over 4,300 digits) Infinity, as too large a float is."""
    try:
        return str(value)
    except ValueError:
        return "Infinity" if value > 0 else "-Infinity"
