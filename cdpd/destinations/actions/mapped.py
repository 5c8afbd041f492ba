"""Where a payload field's value comes from by default: short forms of mapping directives for `Annotated`.

Annotated[str, Mapped("$.userId")]                        a path of the event
Annotated[str, Mapped(first("$.userId", "$.anonymousId"))]
Annotated[str, Mapped(template("Viewed {{name}}"))]
Annotated[bool, Mapped(True)]                             a constant
Annotated[list[dict[str, Any]], Mapped(each("$.properties.products", {"id": "$.product_id"})), Shape(Product)]
"""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Struct

from cdpd.mapping.kit.field import FieldType


class Mapped(Struct, frozen=True, eq=False):
    """The default mapping of a field; a text that begins with `$.` is a path."""

    mapping: Any

    @property
    def directive(self) -> Any:
        """As the mapping kit wants it."""
        return _paths(self.mapping)


class Shape(Struct, frozen=True, eq=False):
    """The keys of a field that is an object, or a list of objects; the values stay plain dicts."""

    of: type[Struct]
    extra: bool = False
    """Whether keys that it does not have are kept."""


class Kind(Struct, frozen=True):
    """The type of a field whose Python type does not say it, as spec/destinations.md has it."""

    name: FieldType


Datetime = Annotated[str | int | float, Kind("datetime")]
"""ISO 8601, or seconds or milliseconds since the epoch; passed on as it came."""


def first(*paths: Any) -> Any:
    """The first of these that is neither missing nor null."""
    head, *rest = paths
    if not rest:
        return head
    return {"@if": {"exists": head, "then": head, "else": first(*rest)}}


def template(text: str) -> Any:
    """A text with `{{path}}` filled in."""
    return {"@template": text}


def each(path: str, shape: dict[str, Any]) -> Any:
    """The shape of each element at that path (of the one object there); its paths are relative to the element."""
    return {"@arrayPath": [path, _paths(shape)]}


def _paths(value: Any) -> Any:
    if isinstance(value, str):
        return {"@path": value} if value.startswith("$.") else value
    if not isinstance(value, dict):
        return value
    if "@arrayPath" in value or "@template" in value or "@path" in value:
        return value
    return {key: _paths(item) for key, item in value.items()}
