"""The difference of two JSON texts: as dotted paths to count, and as lines that a person reads.

Texts are compared as they are written (`1.10` is not `1.1`); only strings are compared by what they say, and the order
of keys does not matter.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Final, Literal

import msgspec
from msgspec import Raw, Struct

from cdpd.section import decode_value
from cdpd.terminal import paint, printable

Sign = Literal["+", "-", "~"]
"""Only after, only before, another value."""

_decode_object: Final = msgspec.json.Decoder(dict[str, Raw]).decode
_decode_array: Final = msgspec.json.Decoder(list[Raw]).decode
_decode_text: Final = msgspec.json.Decoder(str).decode
_OBJECT, _ARRAY, _STRING = b'{["'
_COLOURS: Final = {"+": "green", "-": "red", " ": "dim"}
_INDENT: Final = "  "
_MOST: Final = 12
"""Lines of one value that was added or removed; of a longer one it is told how many follow."""


def changed_paths(before: bytes | Raw, after: bytes | Raw) -> dict[str, Sign]:
    """Every place that differs, as a dotted path: `context.ip`, `products[].price`; "" for the whole.

    What was added or removed whole has one path, and so has an array of another length. A key that is no plain word
    stands in quotes.
    """
    found: dict[str, Sign] = {}
    _walk(Raw(before), Raw(after), "", found)
    return found


def _walk(before: Raw, after: Raw, path: str, found: dict[str, Sign]) -> None:
    first, second = bytes(before)[:1], bytes(after)[:1]
    if first == second == b"{":
        old, new = _decode_object(before), _decode_object(after)
        for key, value in old.items():
            other = new.get(key)
            if other is None:
                found[_below(path, key)] = "-"
            elif other != value:
                _walk(value, other, _below(path, key), found)
        for key in new:
            if key not in old:
                found[_below(path, key)] = "+"
    elif first == second == b"[":
        elements, others = _decode_array(before), _decode_array(after)
        if len(elements) != len(others):
            found[path] = "~"
            return
        for one, other in zip(elements, others, strict=True):
            if one != other:
                _walk(one, other, f"{path}[]", found)
    elif not _same(before, after):
        found[path] = "~"


def _below(path: str, key: str) -> str:
    if not key.replace("_", "").replace("-", "").replace("$", "").isalnum():
        key = msgspec.json.encode(key).decode()
    return f"{path}.{key}" if path else key


def _same(before: Raw, after: Raw) -> bool:
    one, other = bytes(before), bytes(after)
    if one == other:
        return True
    return one[:1] == other[:1] == b'"' and _decode_text(one) == _decode_text(other)


class Line(Struct, frozen=True):
    """A line of a shown difference: what it is to either side (" ": both), how deep, and its text."""

    sign: Literal["+", "-", " "]
    depth: int
    text: str


def difference(before: bytes | Raw, after: bytes | Raw, only: Collection[str] | None = None) -> list[Line]:
    """What differs, line by line: the changed places with what they are in; of `only` these paths, where given.

    Keys that are the same are left out; so are elements of arrays, with a `…` in their place. Nothing where all is the
    same.
    """
    if not changed_paths(before, after):
        return []
    told = _Told(only)
    if bytes(before)[:1] == bytes(after)[:1] == b"{":
        return list(told.members(_decode_object(before), _decode_object(after), 0, ""))
    return list(told.lines("", Raw(before), Raw(after), 0, ""))


def whole(text: bytes | Raw) -> list[Line]:
    """A JSON text, line by line; cut where it is long."""
    members = _decode_object(text) if bytes(text)[:1] == b"{" else {}
    if not members:
        return list(_value(" ", "", Raw(text), 0))
    return [line for key, value in members.items() for line in _value(" ", _name(key), value, 0)]


def shown(lines: list[Line], colour: bool, width: int | None = None, indent: str = "") -> Iterator[str]:
    """The lines for a terminal, `- ` and `+ ` before what was and what is; cut at `width` where that is given."""
    for line in lines:
        text = printable(f"{line.sign} {_INDENT * line.depth}{line.text}")
        room = None if width is None else max(width - len(indent), 10)
        if room is not None and len(text) > room:
            text = text[: room - 1] + "…"
        yield indent + paint(text, _COLOURS[line.sign], colour)


class _Told:
    """Walks over two texts and says what differs."""

    def __init__(self, only: Collection[str] | None) -> None:
        self._only = only

    def _wanted(self, path: str) -> bool:
        """Whether the place is one that is asked for, or in or around one."""
        if self._only is None:
            return True
        return any(path == one or _inside(path, one) or _inside(one, path) for one in self._only)

    def lines(self, name: str, before: Raw, after: Raw, depth: int, path: str) -> Iterator[Line]:
        first, second = bytes(before)[:1], bytes(after)[:1]
        if first == second == b"{":
            yield Line(" ", depth, name + "{")
            yield from self.members(_decode_object(before), _decode_object(after), depth + 1, path)
            yield Line(" ", depth, "}")
        elif first == second == b"[":
            yield Line(" ", depth, name + "[")
            yield from self._elements(_decode_array(before), _decode_array(after), depth + 1, f"{path}[]")
            yield Line(" ", depth, "]")
        else:
            yield from _value("-", name, before, depth)
            yield from _value("+", name, after, depth)

    def members(self, old: dict[str, Raw], new: dict[str, Raw], depth: int, path: str) -> Iterator[Line]:
        for key in [*old, *(key for key in new if key not in old)]:
            before, after, here = old.get(key), new.get(key), _below(path, key)
            if before == after or not self._wanted(here):
                continue
            if before is None and after is not None:
                yield from _value("+", _name(key), after, depth)
            elif before is not None and after is None:
                yield from _value("-", _name(key), before, depth)
            elif before is not None and after is not None and changed_paths(before, after):
                yield from self.lines(_name(key), before, after, depth, here)

    def _elements(self, old: list[Raw], new: list[Raw], depth: int, path: str) -> Iterator[Line]:
        start, end = _same_around(old, new)
        before, after = old[start : len(old) - end], new[start : len(new) - end]
        if start:
            yield Line(" ", depth, "…")
        if len(before) == len(after):
            skipped = False
            for one, other in zip(before, after, strict=True):
                if changed_paths(one, other):
                    yield from self.lines("", one, other, depth, path)
                    skipped = False
                elif not skipped:
                    yield Line(" ", depth, "…")
                    skipped = True
        else:
            for one in before:
                yield from _value("-", "", one, depth)
            for other in after:
                yield from _value("+", "", other, depth)
        if end:
            yield Line(" ", depth, "…")


def _inside(place: str, other: str) -> bool:
    return place.startswith((f"{other}.", f"{other}[]"))


def _name(key: str) -> str:
    return msgspec.json.encode(key).decode() + ": "


def _same_around(old: list[Raw], new: list[Raw]) -> tuple[int, int]:
    """How many elements are the same at the beginning, and how many at the end."""
    most = min(len(old), len(new))
    start = 0
    while start < most and old[start] == new[start]:
        start += 1
    end = 0
    while end < most - start and old[-1 - end] == new[-1 - end]:
        end += 1
    return start, end


def _value(sign: Literal["+", "-", " "], name: str, value: Raw, depth: int) -> Iterator[Line]:
    """All of a value, cut where it is long."""
    lines = list(_all(sign, name, value, depth))
    yield from lines[:_MOST]
    if len(lines) > _MOST:
        yield Line(sign, depth, f"… {len(lines) - _MOST} more lines")


def _all(sign: Literal["+", "-", " "], name: str, value: Raw, depth: int) -> Iterator[Line]:
    text = bytes(value)
    if text[0] == _OBJECT and (members := _decode_object(value)):
        yield Line(sign, depth, name + "{")
        for key, member in members.items():
            yield from _all(sign, _name(key), member, depth + 1)
        yield Line(sign, depth, "}")
    elif text[0] == _ARRAY and (elements := _decode_array(value)):
        yield Line(sign, depth, name + "[")
        for element in elements:
            yield from _all(sign, "", element, depth + 1)
        yield Line(sign, depth, "]")
    else:
        yield Line(sign, depth, name + _scalar(value))


def _scalar(value: Raw) -> str:
    """As it is written; a string with its escapes undone, where it can be."""
    text = bytes(value)
    if text[0] == _STRING:
        return msgspec.json.encode(decode_value(value)).decode()
    return text.decode()
