"""A resolved payload → a valid one: empty values go, types are coerced, unknown keys are dropped, all errors are told.

Spec: connections.md §8.2 (empty-value pass, validation) and the head of destinations.md (“coerced where possible”).
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final

from msgspec import Struct

from cdpd.mapping.kit.errors import Place, place_text
from cdpd.mapping.kit.field import Field, FieldType, same
from cdpd.mapping.kit.nothing import NOTHING
from cdpd.mapping.number_text import number_text

_NUMBER: Final = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_DIGITS: Final = re.compile(r"-?[0-9]{1,16}(?:\.[0-9]{1,9})?")
_DATE: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}(?:[Tt ].*)?")
_MOST_DIGITS: Final = 400
_TEXTS: Final = ("string", "text", "password")
_AS_IT_IS: Final[Mapping[FieldType, type]] = {
    "string": str, "text": str, "password": str, "integer": int, "number": int, "boolean": bool,
}  # fmt: skip
"""Types that need no look, which is nearly all there is."""
_WANTED: Final[Mapping[FieldType, str]] = {
    "string": "a string", "text": "a string", "password": "a string", "number": "a number",
    "integer": "a whole number", "boolean": "true or false", "object": "an object",
    "datetime": "an ISO 8601 time or epoch seconds",
}  # fmt: skip


class FieldError(Struct, frozen=True):
    """What is wrong with one field of a payload. `name` is its place, like `items[0].price`."""

    name: str
    message: str

    def __str__(self) -> str:
        return f"{self.name}: {self.message}"


class _Unfit(Exception):
    """A value that cannot be coerced."""


def check(fields: Mapping[str, Field], payload: Mapping[str, Any]) -> tuple[dict[str, Any], list[FieldError]]:
    """(the valid payload, errors in the order of the fields): use the payload only where there are no errors.

    The result is new down to the declared fields; objects without declared fields in it are the given ones.
    """
    errors: list[FieldError] = []
    return _members(fields, payload, (), errors), errors


def _members(
    fields: Mapping[str, Field], given: Mapping[str, Any], place: Place, errors: list[FieldError]
) -> dict[str, Any]:
    made: dict[str, Any] = {}
    wrong: set[str] = set()
    for name, field in fields.items():
        value = given.get(name, NOTHING)
        if value is NOTHING or _is_empty(field, value, top=not place):
            continue
        if type(value) is _AS_IT_IS.get(field.type) and not field.multiple and not field.choices:
            made[name] = value
            continue
        before = len(errors)
        value = _value(field, value, (*place, name), errors)
        if len(errors) > before:
            wrong.add(name)
        else:
            made[name] = value
    for name, field in fields.items():
        if name not in made and name not in wrong and field.is_required(made):
            errors.append(FieldError(place_text((*place, name)), "is required"))
    return made


def _is_empty(field: Field, value: Any, top: bool) -> bool:
    """What the empty-value pass takes out: null, and "" where it is no text, or stands at the top of the payload."""
    if value is None:
        return not field.allow_null
    return value == "" and isinstance(value, str) and (top or field.type not in _TEXTS)


def _value(field: Field, value: Any, place: Place, errors: list[FieldError]) -> Any:
    if value is None:
        return None
    if not field.multiple:
        return _one(field, value, place, errors)
    items = value if isinstance(value, list) else [value]
    return [
        item if item is None else _one(field, item, (*place, i), errors)
        for i, item in enumerate(items)
        if not _is_empty(field, item, top=False)
    ]


def _one(field: Field, value: Any, place: Place, errors: list[FieldError]) -> Any:
    if field.type == "object":
        return _object(field, value, place, errors)
    if isinstance(value, list) and len(value) == 1 and not isinstance(value[0], list | dict):
        value = value[0]
    try:
        made = _COERCE[field.type](value)
    except _Unfit:
        wanted = _WANTED[field.type]
        errors.append(FieldError(place_text(place), f"expected {wanted}, found {_shown(value)}"))
        return None
    choices = field.values() if field.choices else ()
    if choices and not any(same(made, choice) for choice in choices):
        known = ", ".join(map(str, choices))
        errors.append(FieldError(place_text(place), f"expected one of {known}, found {_shown(made)}"))
    return made


def _object(field: Field, value: Any, place: Place, errors: list[FieldError]) -> Any:
    if not isinstance(value, dict):
        errors.append(FieldError(place_text(place), f"expected an object, found {_shown(value)}"))
        return None
    if not field.properties:
        return value
    made = _members(field.properties, value, place, errors)
    if field.extra_keys:
        made.update({key: item for key, item in value.items() if key not in field.properties})
    return made


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float) and math.isfinite(value):
        return number_text(value)
    raise _Unfit


def _number(value: Any) -> int | float:
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, int):
        return value
    if isinstance(value, str):
        written = value.strip(" \t\r\n")
        if len(written) > _MOST_DIGITS or not _NUMBER.fullmatch(written):
            raise _Unfit
        value = int(written) if written.lstrip("+-").isdigit() else float(written)
    if isinstance(value, int | float) and math.isfinite(value):
        return value
    raise _Unfit


def _integer(value: Any) -> int:
    number = _number(value)
    if isinstance(number, float) and not number.is_integer():
        raise _Unfit
    return int(number)


def _boolean(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value in ("true", "false"):
        return value == "true"
    if isinstance(value, int | float) and value in (0, 1):
        return value == 1
    raise _Unfit


def _datetime(value: Any) -> Any:
    """An ISO 8601 date or time, or a number (as a number or in digits); passed on as it is."""
    if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
        return value
    if isinstance(value, str):
        if _DIGITS.fullmatch(value):
            return value
        if _DATE.fullmatch(value):
            try:
                datetime.fromisoformat(value.upper())
            except ValueError:
                raise _Unfit from None
            return value
    raise _Unfit


_COERCE: Final[Mapping[FieldType, Callable[[Any], Any]]] = {
    "string": _text,
    "text": _text,
    "password": _text,
    "number": _number,
    "integer": _integer,
    "boolean": _boolean,
    "datetime": _datetime,
}


def _shown(value: Any) -> str:
    """A value for a message, short; of lists and objects only that they are."""
    if isinstance(value, list):
        return f"a list of {len(value)}"
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, float) and not math.isfinite(value):
        return "a number beyond all bounds"
    text = f'"{value}"' if isinstance(value, str) else _text(value) if value is not None else "null"
    return text if len(text) <= 60 else f"{text[:59]}…"
