"""FQL's values: JSON's, with null for what is missing; what type each has, and when two are equal."""

from __future__ import annotations

from typing import Any, Final, Literal

Kind = Literal["string", "number", "list", "bool", "null", "object", ""]
"""A type as `typeof` names it; "" where only the event decides."""

_KINDS: Final[dict[type, Kind]] = {
    str: "string", int: "number", float: "number", bool: "bool", type(None): "null", list: "list", dict: "object",
}  # fmt: skip
_NAMES: Final = {
    "string": "a string", "number": "a number", "list": "a list", "bool": "true or false", "null": "null",
    "object": "an object",
}  # fmt: skip


def kind_of(value: object) -> Kind:
    """The type of a decoded JSON value. Raises TypeError for what JSON does not have."""
    kind = _KINDS.get(type(value))
    if kind is None:
        raise TypeError(f"{type(value).__name__} is no JSON type")
    return kind


def named(kind: Kind) -> str:
    """`a list`, for messages."""
    return _NAMES[kind]


def equal(left: Any, right: Any) -> bool:
    """Same type and same value; lists and objects element by element. `1` equals `1.0`, `true` does not equal 1."""
    kind = kind_of(left)
    if kind != kind_of(right):
        return False
    if kind == "list":
        return len(left) == len(right) and all(equal(a, b) for a, b in zip(left, right, strict=True))
    if kind == "object":
        return left.keys() == right.keys() and all(equal(value, right[key]) for key, value in left.items())
    return bool(left == right)
