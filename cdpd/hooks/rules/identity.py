"""Ids as clients send them, as JSON text → what the event has: strings. Source: event-spec.md §10 step 6."""

from __future__ import annotations

import math
import re
from decimal import Decimal, InvalidOperation
from typing import Final

import msgspec
from msgspec import Raw

_INTEGER: Final = re.compile(rb"-?(?:0|[1-9][0-9]*)")
_decode_string: Final = msgspec.json.Decoder(str).decode


class NotAnId(Exception):
    """A boolean, an object, an array, or a number that no double holds."""


def blank(text: bytes) -> bool:
    """Whether a JSON string (with its quotes) is empty or holds nothing but white space."""
    return not _decode_string(text).strip()


def number_id(text: bytes) -> Raw:
    """A JSON number as the string it becomes: integers exactly, of any size; `7.0` is "7", `1e3` is "1000".

    Raises NotAnId.
    """
    if _INTEGER.fullmatch(text):
        return Raw(b'"' + (b"0" if text == b"-0" else text) + b'"')
    try:
        if not math.isfinite(float(text)):
            raise NotAnId
        digits = format(Decimal(text.decode()), "f")
    except (ValueError, InvalidOperation):
        raise NotAnId from None
    if "." in digits:
        digits = digits.rstrip("0").rstrip(".")
    return Raw(b'"' + ("0" if digits == "-0" else digits).encode() + b'"')
