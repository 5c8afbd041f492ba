"""Bodies as vendors expect them: JSON with JavaScript's numbers, and forms (spec/destinations.md §0.3)."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote_plus

import msgspec

from cdpd.destinations.answers import Answer

_WHOLE: Final = 1e21
"""From here on JavaScript writes a whole number with an exponent."""


_FRACTIONS: Final = (b".0,", b".0}", b".0]")
_EXPONENT: Final = re.compile(rb"e(?:1[6-9]|20)[,}\]]")


def _may_differ(text: bytes) -> bool:
    """Whether JSON text may hold a whole number with a fraction or an exponent; a string like that does no harm."""
    return any(end in text for end in _FRACTIONS) or _EXPONENT.search(text) is not None


def to_json(value: Any) -> bytes:
    """Compact JSON: `10.0` is written `10`, non-ASCII stays; Structs lose what is UNSET."""
    if type(value) is float:
        return msgspec.json.encode(_plain(value))
    text = msgspec.json.encode(value)
    # Few bodies have a number that is to be written otherwise: only these are gone through in Python.
    return msgspec.json.encode(_plain(value)) if _may_differ(text) else text


def _plain(value: Any) -> Any:
    """The same with whole numbers as integers; what holds none is returned as it is."""
    kind = type(value)
    if kind is float:
        return int(value) if value.is_integer() and abs(value) < _WHOLE else _finite(value)
    if kind is dict:
        return {key: _plain(item) for key, item in value.items()}
    if kind is list or kind is tuple:
        return [_plain(item) for item in value]
    if isinstance(value, msgspec.Struct):
        return _plain(msgspec.to_builtins(value))
    return value


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def size_of(value: Any) -> int:
    """Bytes of its JSON."""
    return len(to_json(value))


def json_of(answer: Answer) -> Any:
    """What an answer's body says as JSON; None where it is none."""
    try:
        return msgspec.json.decode(answer.body)
    except msgspec.DecodeError:
        return None


def to_form(fields: Mapping[str, str]) -> bytes:
    """`application/x-www-form-urlencoded`: a space is `+`, all but letters, digits and `*-._` is escaped."""
    return "&".join(f"{_escaped(name)}={_escaped(value)}" for name, value in fields.items()).encode()


def _escaped(text: str) -> str:
    return quote_plus(text, safe="*").replace("~", "%7E")
