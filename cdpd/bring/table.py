"""Rows of a CSV file → events, by a mapping."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from typing import Final

import msgspec
from msgspec import Raw, Struct

from cdpd.bring.batch import Item, Known
from cdpd.bring.event import BadLine, Brought, Fields, Treatment, made_id, own_id, set_integrations
from cdpd.bring.mapping import Column, Columns, converted
from cdpd.bring.unpack import Unreadable
from cdpd.config.problem import did_you_mean
from cdpd.timestamp import format_time, parse_time

_DELIMITERS: Final = ",;\t|"
_BOM: Final = "\ufeff"
_encode: Final = msgspec.json.Encoder().encode


class _Place(Struct, frozen=True):
    """Where a cell goes."""

    index: int
    column: Column
    path: tuple[str, ...]


class Table:
    """A CSV file whose lines come from `source`. Raises Unreadable where its header does not fit the mapping.

    `lines` is how many lines the rows up to now took; a row may take several.
    """

    def __init__(self, source: Iterator[str], columns: Columns, treatment: Treatment) -> None:
        self._treatment = treatment
        self._fixed = [(tuple(path.split(".")), value) for path, value in columns.fixed.items()]
        first = next(source, "").removeprefix(_BOM)
        delimiter = columns.delimiter or max(_DELIMITERS, key=first.count)

        def again() -> Iterator[str]:
            yield first
            yield from source

        self._reader = csv.reader(again(), delimiter=delimiter)
        self._header = next(self._reader, [])
        self._places = [self._place(column) for column in columns.columns]

    @property
    def lines(self) -> int:
        return self._reader.line_num

    def _place(self, column: Column) -> _Place:
        if column.column not in self._header:
            shown = ", ".join(self._header[:20]) + (" …" if len(self._header) > 20 else "")
            hint = did_you_mean(column.column, self._header) or f"its first line has: {shown}"
            raise Unreadable(f"there is no column {column.column!r}; {hint}")
        return _Place(self._header.index(column.column), column, tuple(column.path.split(".")))

    def rows(self) -> Iterator[Brought | BadLine]:
        """The events, in order."""
        while True:
            try:
                row = next(self._reader)
            except StopIteration:
                return
            except csv.Error as error:
                yield BadLine(f"not CSV: {error}")
                continue
            if row:
                yield self._event(row)

    def _event(self, row: Sequence[str]) -> Brought | BadLine:
        if len(row) != len(self._header):
            return BadLine(f"{len(row)} cells, where the first line has {len(self._header)}")
        fields: dict[str, object] = {}
        for path, value in self._fixed:
            _put(fields, path, value)
        for place in self._places:
            try:
                cell = converted(row[place.index], place.column.kind)
            except UnicodeEncodeError:
                return BadLine(f"column {place.column.column}: not UTF-8 (try `iconv -f latin1 -t utf8`)")
            except ValueError as error:
                return BadLine(f"column {place.column.column}: {error}")
            if cell is not None:
                _put(fields, place.path, cell)
        return self._brought(_whole(fields), row)

    def _brought(self, fields: Fields, row: Sequence[str]) -> Brought:
        treatment = self._treatment
        if not own_id(fields.get("messageId")):
            cells = [cell for pair in zip(self._header, row, strict=True) for cell in pair]
            encoded = [cell.encode(errors="surrogateescape") for cell in cells]
            fields["messageId"] = made_id(treatment.source, *encoded)
        elif bytes(fields["messageId"])[:1] != b'"':
            fields["messageId"] = Raw(b'"%b"' % bytes(fields["messageId"]))
        received = _time(fields.pop("receivedAt", None))
        happened = _time(fields.get("timestamp"))
        original = _time(fields.get("originalTimestamp"))
        if happened is None and original is not None:
            happened, fields["timestamp"] = original, fields["originalTimestamp"]
        elif happened is not None and original is None:
            fields["originalTimestamp"] = fields["timestamp"]
        set_integrations(fields, treatment.deliver)
        known = Known(None if received is None or treatment.received == "now" else format_time(received))
        kind, event = _text(fields.get("type")), _text(fields.get("event", fields.get("name")))
        at = received if happened is None else happened
        return Brought(Item(_encode(fields), known), at, happened is not None, kind, event)


def _put(fields: dict[str, object], path: tuple[str, ...], value: Raw) -> None:
    for key in path[:-1]:
        inner = fields.setdefault(key, {})
        assert isinstance(inner, dict)  # the mapping has no path within another's value
        fields = inner
    fields[path[-1]] = value


def _whole(fields: dict[str, object]) -> Fields:
    return {key: value if isinstance(value, Raw) else Raw(_encode(value)) for key, value in fields.items()}


def _time(raw: Raw | None) -> int | None:
    return None if raw is None else parse_time(msgspec.json.decode(raw))


def _text(raw: Raw | None) -> str:
    return msgspec.json.decode(raw, type=str) if raw is not None and bytes(raw)[:1] == b'"' else ""
