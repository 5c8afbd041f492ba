"""Sections: JSON objects and arrays that are decoded only as far as they are looked into.

Reading changes nothing. Writing re-encodes only the levels on the way down to the change, so that every
untouched value keeps its own text: `1.10`, integers of any size, key order, duplicate keys.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, MutableMapping, MutableSequence
from typing import Any, Union

import msgspec
from msgspec import Raw

_decode_object = msgspec.json.Decoder(dict[str, Raw]).decode
_decode_array = msgspec.json.Decoder(list[Raw]).decode
_decode_any = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode

Node = Union["Section", "Items"]


def decode_value(raw: Raw) -> Any:
    """Plain Python for a JSON text; a number too large for a float, or of over 4,300 digits, reads as infinity."""
    try:
        return _decode_any(raw)
    except msgspec.DecodeError:
        return json.loads(bytes(raw), parse_int=_integer)


def _integer(text: str) -> int | float:
    try:
        return int(text)
    except ValueError:  # more digits than Python converts
        return float(text)


def encode_value(value: object) -> Raw:
    """JSON text of anything that can stand in an event: sections, mappings, sequences, scalars.

    NaN and infinity become null. Raises TypeError for what JSON cannot say.
    """
    if isinstance(value, Section | Items):
        return value.raw()
    return Raw(_encode_open(value))


def _enc_hook(value: object) -> object:
    if isinstance(value, Section | Items):
        return value.raw()
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{type(value).__name__} cannot stand in an event: use JSON types")


_encode_open = msgspec.json.Encoder(enc_hook=_enc_hook).encode


class Branch:
    """What objects and arrays share: their text, and telling the levels above of a change."""

    __slots__ = ("_key", "_parent", "_text")

    _text: Raw | None
    _parent: Branch | None
    _key: str | None  # set while this section is not in its parent yet: attached by the first change

    def _touch(self) -> None:
        self._text = None
        parent = self._parent
        if parent is not None:
            if self._key is not None and isinstance(parent, Section):
                parent._put(self._key, self)
                self._key = None
            parent._touch()

    def _open(self, raw: Raw) -> Any:
        """A section for an object or array, the plain value for a scalar."""
        first = bytes(memoryview(raw)[:1])
        if first == b"{":
            return Section(raw, self)
        if first == b"[":
            return Items(raw, self)
        return decode_value(raw)

    def raw(self) -> Raw:
        raise NotImplementedError  # pragma: no cover - both children have their own

    def plain(self) -> Any:
        """An independent copy as plain dicts, lists and scalars."""
        return decode_value(self.raw())

    def __repr__(self) -> str:
        return f"{type(self).__name__}({bytes(self.raw()).decode(errors='replace')})"


class Section(Branch, MutableMapping[str, Any]):
    """A JSON object. Nested objects and arrays come out as Section and Items; assigned values are copied."""

    __slots__ = ("_fields", "_unopened")

    _fields: dict[str, Raw | Node] | None
    _unopened: bool
    """Every field is still text: none was opened, so they can be handed out and encoded as they are."""

    def __init__(self, text: Raw | bytes | None = None, parent: Branch | None = None) -> None:
        self._text = Raw(b"{}") if text is None else text if isinstance(text, Raw) else Raw(text)
        self._parent = parent
        self._key = None
        self._fields = None
        self._unopened = True

    @classmethod
    def detached(cls, parent: Branch, key: str) -> Section:
        """An empty section that becomes `parent[key]` when something is first written to it."""
        section = cls(None, parent)
        section._key = key
        return section

    def _read(self) -> dict[str, Raw | Node]:
        fields = self._fields
        if fields is None:
            assert self._text is not None
            fields = self._fields = _decode_object(self._text)  # type: ignore[assignment]  # dict is invariant
        return fields  # type: ignore[return-value]  # just set

    def _put(self, key: str, value: Branch) -> None:
        self._read()[key] = value  # type: ignore[assignment]  # Branch is a Section or an Items
        self._unopened = False

    def raw(self) -> Raw:
        if self._text is None:
            self._text = Raw(_encode(self._fields if self._unopened else self.raw_fields()))
        return self._text

    def raw_fields(self) -> dict[str, Raw]:
        """Every field's JSON text, in order; a dict of the caller's own (see `put_raw_fields`)."""
        fields = self._read()
        if self._unopened:
            return fields.copy()  # type: ignore[return-value]  # unopened: all of them are Raw
        return {key: value if isinstance(value, Raw) else value.raw() for key, value in fields.items()}

    def put_raw_fields(self, fields: dict[str, Raw]) -> None:
        """Replace all fields by these texts, which become the section's own.

        The quick way for a hook that changes many: read `raw_fields()`, change the dict, put it back. The
        caller vouches that each text is valid JSON on one line.
        """
        self._fields = fields  # type: ignore[assignment]  # dict is invariant
        self._unopened = True
        self._touch()

    def raw_field(self, key: str) -> Raw | None:
        """The JSON text of one field, undecoded, or None."""
        value = self._read().get(key)
        return value if value is None or isinstance(value, Raw) else value.raw()

    def put_raw(self, key: str, text: Raw) -> None:
        """Set a field to JSON text as it is. The caller vouches that it is valid and on one line."""
        self._read()[key] = text
        self._touch()

    def __getitem__(self, key: str) -> Any:
        value = self._read()[key]
        if not isinstance(value, Raw):
            return value
        opened = self._open(value)
        if isinstance(opened, Section | Items):
            self._read()[key] = opened
            self._unopened = False
        return opened

    def __setitem__(self, key: str, value: object) -> None:
        if not isinstance(key, str):
            raise TypeError(f"a key must be a string, not {type(key).__name__}")
        self._read()[key] = encode_value(value)
        self._touch()

    def __delitem__(self, key: str) -> None:
        del self._read()[key]
        self._touch()

    def __contains__(self, key: object) -> bool:
        return key in self._read()

    def __iter__(self) -> Iterator[str]:
        return iter(self._read())

    def __len__(self) -> int:
        return len(self._read())

    def section(self, key: str) -> Section:
        """`self[key]` where that is an object; else an empty section that takes its place when written to."""
        value = self.get(key)
        return value if isinstance(value, Section) else Section.detached(self, key)


class Items(Branch, MutableSequence[Any]):
    """A JSON array; elements come out as Section, Items or scalars; assigned values are copied."""

    __slots__ = ("_elements",)

    _elements: list[Raw | Node] | None

    def __init__(self, text: Raw, parent: Branch | None = None) -> None:
        self._text = text
        self._parent = parent
        self._key = None
        self._elements = None

    def _read(self) -> list[Raw | Node]:
        elements = self._elements
        if elements is None:
            assert self._text is not None
            elements = self._elements = _decode_array(self._text)  # type: ignore[assignment]  # list is invariant
        return elements  # type: ignore[return-value]  # just set

    def raw(self) -> Raw:
        if self._text is None:
            self._text = Raw(_encode([v if isinstance(v, Raw) else v.raw() for v in self._read()]))
        return self._text

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        value = self._read()[index]
        if not isinstance(value, Raw):
            return value
        opened = self._open(value)
        if isinstance(opened, Section | Items):
            self._read()[index] = opened
        return opened

    def __setitem__(self, index: Any, value: Any) -> None:
        if isinstance(index, slice):
            values: Iterable[Any] = value
            self._read()[index] = [encode_value(v) for v in values]
        else:
            self._read()[index] = encode_value(value)
        self._touch()

    def __delitem__(self, index: int | slice) -> None:
        del self._read()[index]
        self._touch()

    def insert(self, index: int, value: Any) -> None:
        self._read().insert(index, encode_value(value))
        self._touch()

    def __len__(self) -> int:
        return len(self._read())

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Items | list | tuple):
            return len(self) == len(other) and all(a == b for a, b in zip(self, other, strict=True))
        return NotImplemented

    __hash__ = None  # type: ignore[assignment]  # mutable
