"""Which column of a CSV file becomes which part of an event: `PATH[:TYPE]=COLUMN`, or a TOML file.

type = "track"                     # [set] in short, for type and event
event = "Order Completed"
delimiter = ";"

[columns]
userId = "customer_id"
"properties.amount" = { column = "amount", type = "number" }

[set]
"properties.imported" = true
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Literal, get_args

import msgspec
from msgspec import Raw, Struct

from cdpd.config.problem import did_you_mean
from cdpd.event import TYPES
from cdpd.ingest.mend import mend
from cdpd.timestamp import format_time, parse_time

Kind = Literal["string", "number", "integer", "boolean", "json", "time"]
KINDS: Final[tuple[str, ...]] = get_args(Kind)
_TIMES: Final = ("timestamp", "originalTimestamp", "sentAt", "receivedAt")
_IDS: Final = ("userId", "anonymousId")
_SECTIONS: Final = ("properties", "traits", "context", "integrations")
_PLAIN: Final = ("type", "event", "name", "category", "messageId", "groupId", "previousId", "channel")
_TRUE: Final = frozenset(("true", "t", "yes", "y", "1"))
_FALSE: Final = frozenset(("false", "f", "no", "n", "0"))
_decode_number: Final = msgspec.json.Decoder(int | float).decode
_decode_raw: Final = msgspec.json.Decoder(Raw).decode
_encode: Final = msgspec.json.Encoder().encode


class MappingError(Exception):
    """A mapping that cannot be used; the text says what is wrong."""


class Column(Struct, frozen=True):
    """One column's place in the event."""

    path: str
    """`userId`, `properties.amount` …; a dot goes into an object."""
    column: str
    kind: Kind


class _Typed(Struct, forbid_unknown_fields=True, frozen=True):
    column: str
    type: str = ""


class _File(Struct, forbid_unknown_fields=True, frozen=True):
    columns: dict[str, str | _Typed] = {}
    set: dict[str, Any] = {}
    type: str | None = None
    event: str | None = None
    delimiter: str | None = None


class Columns(Struct, frozen=True):
    """How rows become events. Raises MappingError where no event could come of it."""

    columns: Sequence[Column]
    fixed: Mapping[str, Raw]
    """Path → the JSON text that every event gets there."""
    delimiter: str = ""
    """"" : told by the header."""

    def __post_init__(self) -> None:
        paths = [column.path for column in self.columns] + list(self.fixed)
        for path in paths:
            _check_path(path)
            if paths.count(path) > 1:
                raise MappingError(f"{path} is given twice")
            for other in paths:
                if other.startswith(f"{path}."):
                    raise MappingError(f"{path} cannot be a value and have {other} in it")
        if "type" not in paths:
            raise MappingError("what calls are the rows? Say --set type=track, or --column type=COLUMN")
        fixed = self.fixed.get("type")
        kind = msgspec.json.decode(fixed) if fixed is not None else None
        if fixed is not None and kind not in TYPES:
            hint = did_you_mean(str(kind), TYPES) or f"one of {', '.join(TYPES)}"
            raise MappingError(f"type: {kind!r} is no call; {hint}")
        if kind == "track" and "event" not in paths:
            raise MappingError(
                "a track event needs its name: --set event='Order Completed', or --column event=COLUMN"
            )
        if not any(name in paths for name in _IDS):
            raise MappingError(
                "whose events are they? Say --column userId=COLUMN, or --column anonymousId=COLUMN"
            )
        if "messageId" in self.fixed:
            raise MappingError(
                "messageId: one id for all rows would leave one event; give it a column, or none"
            )
        if len(self.delimiter) > 1:
            raise MappingError(f"delimiter: one character is expected, not {self.delimiter!r}")


def mapping_of(
    file: Path | None, columns: Iterable[str], fixed: Iterable[str], delimiter: str | None
) -> Columns | None:
    """A file's mapping with what options add to it (options win); None where nothing is given. MappingError."""
    found: dict[str, Column] = {}
    values: dict[str, Raw] = {}
    if file is not None:
        read = _read(file)
        found = {path: _column(path, column) for path, column in read.columns.items()}
        values = {path: Raw(_encode(value)) for path, value in read.set.items()}
        values |= {
            key: Raw(_encode(value)) for key, value in (("type", read.type), ("event", read.event)) if value
        }
        delimiter = delimiter or read.delimiter
    for text in columns:
        path, kind, column = _parts(text, "--column", "userId=customer_id")
        found[path] = Column(path, column, kind or _usual(path))
        values.pop(path, None)
    for text in fixed:
        path, kind, value = _parts(text, "--set", "type=track")
        try:
            values[path] = converted(value, kind or _usual(path)) or Raw(b'""')
        except ValueError as error:
            raise MappingError(f"--set {text}: {error}") from None
        found.pop(path, None)
    if file is None and not found and not values:
        return None
    return Columns(list(found.values()), values, "\t" if delimiter == r"\t" else delimiter or "")


def converted(cell: str, kind: Kind) -> Raw | None:
    """A cell as JSON text; None where it is empty. Numbers keep their digits. Raises ValueError."""
    text = (cell if kind == "string" else cell.strip()).replace("\0", "\ufffd")
    if not text:
        return None
    if kind == "string":
        return Raw(_encode(text))
    if kind == "boolean":
        lower = text.lower()
        if lower not in _TRUE | _FALSE:
            raise ValueError(f"{_shown(cell)} is neither true nor false")
        return Raw(b"true" if lower in _TRUE else b"false")
    if kind == "time":
        number = _number(text)
        ms = parse_time(text if number is None else msgspec.json.decode(number))
        if ms is None:
            raise ValueError(f"{_shown(cell)} is no time: ISO 8601 or seconds since 1970 are")
        return Raw(_encode(format_time(ms)))
    if kind == "json":
        try:
            mended, _ = mend(text.encode())
            return Raw(msgspec.json.format(_decode_raw(mended), indent=-1))  # on one line
        except (msgspec.DecodeError, RecursionError):
            raise ValueError(f"{_shown(cell)} is no JSON") from None
    found = _number(text)
    if found is None or (kind == "integer" and not text.lstrip("-").isdecimal()):
        raise ValueError(f"{_shown(cell)} is no {kind}")
    return found


def _number(text: str) -> Raw | None:
    try:
        _decode_number(text)
    except (msgspec.DecodeError, UnicodeEncodeError):
        return None
    return Raw(text.encode())


def _shown(cell: str) -> str:
    return repr(cell if len(cell) <= 40 else cell[:40] + "…")


def _usual(path: str) -> Kind:
    return "time" if path in _TIMES else "string"


def _parts(text: str, option: str, example: str) -> tuple[str, Kind | None, str]:
    """`PATH[:TYPE]=REST`."""
    left, equals, rest = text.partition("=")
    path, colon, kind = left.strip().rpartition(":") if ":" in left else (left.strip(), "", "")
    if not equals or not path:
        raise MappingError(f"{option} {text}: write PATH[:TYPE]=…, like {example}")
    return path, _kind(kind, f"{option} {text}") if colon else None, rest


def _kind(text: str, where: str) -> Kind:
    if text not in KINDS:
        hint = did_you_mean(text, KINDS) or f"one of {', '.join(KINDS)}"
        raise MappingError(f"{where}: there is no type {text!r}; {hint}")
    kind: Kind = text  # type: ignore[assignment]  # checked above
    return kind


def _column(path: str, given: str | _Typed) -> Column:
    if isinstance(given, str):
        return Column(path, given, _usual(path))
    return Column(path, given.column, _kind(given.type, path) if given.type else _usual(path))


def _check_path(path: str) -> None:
    first, dot, rest = path.partition(".")
    known = (*_PLAIN, *_IDS, *_TIMES, *_SECTIONS)
    if first not in known:
        hint = did_you_mean(first, known) or f"an event has {', '.join(known)}"
        raise MappingError(f"{path}: events have no {first!r}; {hint}")
    if dot and (first not in _SECTIONS or not all(rest.split("."))):
        raise MappingError(f"{path}: write it like properties.plan or context.page.url")


def _read(file: Path) -> _File:
    try:
        return msgspec.convert(tomllib.loads(file.read_text()), _File)
    except OSError as error:
        raise MappingError(f"cannot read {file}: {(error.strerror or str(error)).lower()}") from None
    except (tomllib.TOMLDecodeError, msgspec.ValidationError, UnicodeDecodeError) as error:
        raise MappingError(f"{file}: {error}") from None
