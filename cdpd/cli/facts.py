"""Printing an answer of the daemon for people: nested facts indented, alike things as a table."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from cdpd.cli.output import columns
from cdpd.terminal import coloured, paint


def print_facts(facts: Mapping[str, Any]) -> None:
    """A dict as `name: value` lines; a dict of dicts as a table, one row each."""
    bold = coloured(sys.stdout)
    plain = {name: value for name, value in facts.items() if not _nested(value)}
    sys.stdout.write(columns([(paint(_title(k), "bold", bold), _scalar(v)) for k, v in plain.items()]))
    for name, value in facts.items():
        if not _nested(value):
            continue
        sys.stdout.write(f"\n{paint(_title(name), 'bold', bold)}\n")
        rows = _rows(value)
        if rows is not None:
            sys.stdout.write(_table(rows))
        else:
            for line in _lines(value):
                sys.stdout.write(f"  {line}\n")


def _nested(value: object) -> bool:
    if isinstance(value, list):
        return any(isinstance(item, dict) for item in value)
    return isinstance(value, dict) and bool(value)


def _rows(value: object) -> list[dict[str, Any]] | None:
    """The rows of a table, where every part is a dict of scalars under the same names."""
    if isinstance(value, dict):
        rows = [{"": name, **part} for name, part in value.items() if isinstance(part, dict)]
        whole = len(rows) == len(value)
    else:
        rows = [part for part in value if isinstance(part, dict)] if isinstance(value, list) else []
        whole = isinstance(value, list) and len(rows) == len(value)
    alike = len({tuple(sorted(row)) for row in rows}) <= 1
    return (
        rows if whole and alike and not any(_nested(cell) for row in rows for cell in row.values()) else None
    )


def _table(rows: list[dict[str, Any]]) -> str:
    names = list(dict.fromkeys(name for row in rows for name in row))
    cells = [[row[name] if _is_whole(row[name]) else _scalar(row[name]) for name in names] for row in rows]
    return columns(cells, [_title(name) for name in names], indent="  ")


def _lines(value: Any) -> list[str]:
    # Names in here may be data (a hook, a metric): they stay as they are.
    if isinstance(value, dict):
        lines = []
        for name, part in value.items():
            if _nested(part):
                lines += [name, *(f"  {line}" for line in _lines(part))]
            else:
                lines.append(f"{name}  {_scalar(part)}")
        return lines
    return [str(part) for part in value]


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _scalar(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:,.0f}" if value.is_integer() else f"{value:.4g}"
    if isinstance(value, list | dict):
        return ", ".join(map(str, value)) or "none"
    return str(value)


def _title(name: str) -> str:
    return name.replace("_", " ")
