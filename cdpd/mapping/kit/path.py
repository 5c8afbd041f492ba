"""Paths of `@path` and templates: `properties.items[0]['sku code']`. Not FQL's paths; spec/connections.md §8.2."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final

from cdpd.mapping.kit.javascript import utf16_length
from cdpd.mapping.kit.nothing import NOTHING

Resolve = Callable[[Any], Any]
"""Event (or an item of it) → value, or NOTHING."""

_BRACKET: Final = re.compile(r"""\[(?:([0-9]+)|'([^']*)'|"([^"]*)")\]""")
_INDEX: Final = re.compile(r"0|[1-9][0-9]{0,8}")


def segments_of(path: str) -> tuple[str, ...]:
    """The names on the way; none for the whole event (`""` or `.`). `[word]` is a part of the name before it."""
    if path in ("", "."):
        return ()
    found: list[str] = []
    for piece in path.split("."):
        pieces = _BRACKET.split(piece)  # text, then three groups and a text for each bracket
        if len(pieces) == 1:
            found.append(piece)
            continue
        for place in range(0, len(pieces), 4):
            if pieces[place]:
                found.append(pieces[place])
            inner = [text for text in pieces[place + 1 : place + 4] if text is not None]
            found += inner
    return tuple(found)


def without_root(path: str) -> str:
    """A path without its first `$.`."""
    return path.replace("$.", "", 1)


def reader(segments: tuple[str, ...]) -> Resolve:
    """The value at these names: NOTHING where a name is missing or leads through a text, number or true.

    A falsy value (null, false, 0, "") on the way ends it and is the result.
    """
    if not segments:
        return lambda value: value
    if len(segments) == 1:
        (only,) = segments
        return lambda value: value.get(only, NOTHING) if type(value) is dict else _step(value, only)
    if len(segments) == 2:
        first, second = segments

        def two(value: Any) -> Any:
            value = value.get(first, NOTHING) if type(value) is dict else _step(value, first)
            return value.get(second, NOTHING) if type(value) is dict else _step(value, second)

        return two

    def read(value: Any) -> Any:
        for segment in segments:
            value = value.get(segment, NOTHING) if type(value) is dict else _step(value, segment)
        return value

    return read


def _step(value: Any, segment: str) -> Any:
    if isinstance(value, list):
        if _INDEX.fullmatch(segment):
            place = int(segment)
            return value[place] if place < len(value) else NOTHING
        return len(value) if segment == "length" else NOTHING
    if not value:  # falsy, or nothing already
        return value
    if isinstance(value, str) and segment == "length":
        return utf16_length(value)
    return NOTHING
