"""Printing: JSON, aligned columns, sizes and counts in words."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import msgspec


def print_json(value: object) -> None:
    """One JSON document, indented on a terminal, on one line elsewhere."""
    text = msgspec.json.encode(value)
    if sys.stdout.isatty():
        text = msgspec.json.format(text, indent=2)
    sys.stdout.write(text.decode() + "\n")


def columns(rows: Sequence[Sequence[object]], header: Sequence[str] = (), indent: str = "") -> str:
    """Rows as aligned columns; numbers to the right. Ends with a line break where there is any row."""
    cells = [[_cell(value) for value in row] for row in rows]
    if header:
        cells.insert(0, list(header))
    if not cells:
        return ""
    right = [
        bool(rows) and all(isinstance(row[i], int | float) for row in rows) for i in range(len(cells[0]))
    ]
    widths = [max(len(row[i]) for row in cells) for i in range(len(cells[0]))]
    lines = []
    for row in cells:
        padded = [
            cell.rjust(width) if to_right else cell.ljust(width)
            for cell, width, to_right in zip(row, widths, right, strict=True)
        ]
        lines.append(indent + "  ".join(padded).rstrip())
    return "\n".join(lines) + "\n"


def _cell(value: object) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return "" if value is None else str(value)


def size_text(count: int) -> str:
    """Bytes for people: `64.0 MiB`."""
    amount = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if amount < 1024:
            return f"{amount:.0f} B" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1024
    return f"{amount:.1f} TiB"


def plural(count: int, noun: str) -> str:
    """`1 event`, `2 events`."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
