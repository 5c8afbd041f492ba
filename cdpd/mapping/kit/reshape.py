"""What `@flatten`, `@excludeWhenNull` and `@json` do to a value."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, NoReturn

import msgspec

from cdpd.mapping.kit.nothing import NOTHING


def flattened(value: Any, separator: str, omit_arrays: bool) -> dict[str, Any]:
    """One level of keys: `{a: {b: 1}}` → `{"a.b": 1}`; empty objects and lists vanish; a scalar is `{"": scalar}`.

    `omit_arrays` leaves lists as they are.
    """
    return dict(_leaves(value, separator, omit_arrays, None))


def _leaves(value: Any, separator: str, omit_arrays: bool, prefix: str | None) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        members = list(value.items())
    elif isinstance(value, list) and not omit_arrays:
        members = [(str(i), item) for i, item in enumerate(value)]
    else:
        yield prefix or "", value
        return
    for key, item in members:
        yield from _leaves(
            item, separator, omit_arrays, key if prefix is None else f"{prefix}{separator}{key}"
        )


def without_nulls(value: Any) -> Any:
    """NOTHING for null; an object without its null members, at every depth through objects, not through lists."""
    if value is None:
        return NOTHING
    if isinstance(value, dict):
        return {key: without_nulls(item) for key, item in value.items() if item is not None}
    return value


def decoded_json(text: str) -> Any:
    """The JSON value in a text; the text itself where there is none."""
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError):
        pass
    try:
        return json.loads(text, parse_constant=_no_constant)  # what msgspec has no room for, like 1e999
    except (ValueError, RecursionError):
        return text


def _no_constant(_: str) -> NoReturn:
    raise ValueError("NaN and Infinity are no JSON")
