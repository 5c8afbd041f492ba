"""Printing a table of values as it comes: aligned columns for people, JSON or CSV for machines."""

from __future__ import annotations

import csv
import datetime
import math
import sys
import uuid
from collections.abc import Iterator, Sequence
from decimal import Decimal
from itertools import chain, islice
from typing import Any, Final

import msgspec
from msgspec import Raw

from cdpd.terminal import printable

_LOOKED_AT: Final = 1000
"""Rows that decide on the widths of the columns; the rest follows as it comes."""
_WIDEST: Final = 80
"""Characters of a cell on a terminal."""
_NUMBERS: Final = ("INT", "DOUBLE", "FLOAT", "DECIMAL", "NUMBER")


def print_table(columns: Sequence[str], types: Sequence[str], rows: Iterator[tuple[Any, ...]]) -> int:
    """Aligned columns with a header; returns the number of rows. Long cells are cut on a terminal only."""
    widest = _WIDEST if sys.stdout.isatty() else None
    first = [[_cell(value, widest) for value in row] for row in islice(rows, _LOOKED_AT)]
    head = [printable(column) for column in columns]
    widths = [max(len(row[i]) for row in [head, *first]) for i in range(len(head))]
    right = [any(word in kind for word in _NUMBERS) and "[" not in kind for kind in types]

    def write(cells: Sequence[str]) -> None:
        padded = (
            cell.rjust(width) if to_right else cell.ljust(width)
            for cell, width, to_right in zip(cells, widths, right, strict=True)
        )
        sys.stdout.write("  ".join(padded).rstrip() + "\n")

    write(head)
    write(["-" * width for width in widths])
    count = 0
    for cells in chain(first, ([_cell(value, widest) for value in row] for row in rows)):
        write(cells)
        count += 1
    return count


def print_objects(columns: Sequence[str], types: Sequence[str], rows: Iterator[tuple[Any, ...]]) -> int:
    """One JSON object a row; returns the number of rows. A JSON column's value stands in it as JSON."""
    names = _different(columns)
    count = 0
    for row in rows:
        values = {
            name: Raw(value.encode()) if kind == "JSON" and isinstance(value, str) else _plain(value)
            for name, kind, value in zip(names, types, row, strict=True)
        }
        sys.stdout.write(msgspec.json.encode(values).decode() + "\n")
        count += 1
    return count


def print_csv(columns: Sequence[str], rows: Iterator[tuple[Any, ...]]) -> int:
    """CSV (RFC 4180) with a header; NULL is an empty field. Returns the number of rows."""
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(columns)
    count = 0
    for row in rows:
        writer.writerow(["" if value is None else _text(value) for value in row])
        count += 1
    return count


def _different(columns: Sequence[str]) -> list[str]:
    """Column names as keys of an object: `x`, `x_2` for two that are called `x`."""
    names: list[str] = []
    for column in columns:
        name, number = column, 1
        while name in names:
            number += 1
            name = f"{column}_{number}"
        names.append(name)
    return names


def _cell(value: Any, widest: int | None) -> str:
    text = "NULL" if value is None else printable(_text(value))
    return text if widest is None or len(text) <= widest else text[: widest - 1] + "…"


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, datetime.datetime):
        return _moment(value).replace("T", " ").removesuffix("Z")
    if isinstance(value, dict | list | tuple | bytes):
        return msgspec.json.encode(_plain(value)).decode()
    return str(value)


def _moment(value: datetime.datetime) -> str:
    """ISO 8601 in UTC, which every time without a zone is in here; fractions only as fine as they are."""
    if value.tzinfo is not None:
        value = value.astimezone(datetime.UTC).replace(tzinfo=None)
    return value.isoformat(timespec="microseconds" if value.microsecond % 1000 else "milliseconds") + "Z"


def _plain(value: Any) -> Any:
    """A value of DuckDB's as what JSON has."""
    if isinstance(value, bool | str | None):
        return value
    if isinstance(value, int):
        return Raw(str(value).encode())  # JSON's numbers have no bound, msgspec's have
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Decimal):
        return Raw(format(value, "f").encode()) if value.is_finite() else None
    if isinstance(value, datetime.datetime):
        return _moment(value)
    if isinstance(value, dict):
        return {key if isinstance(key, str) else _text(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    if isinstance(value, datetime.timedelta | uuid.UUID):
        return str(value)
    return str(value)
