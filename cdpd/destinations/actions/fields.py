"""The fields of a payload Struct, as the mapping kit checks them: made of its annotations and docstrings.

| annotation | field |
| --- | --- |
| `str`, `float`, `int`, `bool`, `dict[str, Any]`, `Datetime` | string, number, integer, boolean, object, datetime |
| `list[T]` | several of T; a single value becomes a list of one |
| `Literal["a", "b"]` | a string (or whatever the values are) with choices |
| `T \\| None`, default None | not required; null counts as absent |
| `T \\| None \\| UnsetType`, default UNSET | not required; a null is passed on |

The docstring under a field describes it; where there is none (a Struct made of a table), `Meta(description=…)` does.
"""

from __future__ import annotations

import types
from collections.abc import Mapping
from functools import lru_cache
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin

import msgspec
from msgspec import NODEFAULT, Meta, Struct, UnsetType

from cdpd.config.describe import field_docs
from cdpd.destinations.actions.mapped import Kind, Mapped, Shape
from cdpd.mapping.kit.field import Field, FieldType

_TYPES: Final[Mapping[object, FieldType]] = {
    str: "string",
    float: "number",
    int: "integer",
    bool: "boolean",
    dict: "object",
}


class _Read(Struct):
    """An annotation, taken apart."""

    kind: FieldType | None = None
    multiple: bool = False
    allow_null: bool = False
    choices: tuple[Any, ...] = ()
    shape: Shape | None = None
    mapped: Mapped | None = None
    description: str = ""


@lru_cache(maxsize=512)
def fields_of(payload: type[Struct]) -> Mapping[str, Field]:
    """Name, as mappings write it → field. Raises TypeError for an annotation that is none of the table's."""
    docs = field_docs(payload)
    found: dict[str, Field] = {}
    for own in msgspec.structs.fields(payload):
        read = _Read()
        _read(own.type, read)
        if read.kind is None:
            raise TypeError(
                f"{payload.__name__}.{own.name}: a payload cannot have a field of type {own.type!r}"
            )
        found[own.encode_name] = Field(
            type=read.kind,
            description=docs.get(own.name) or read.description,
            required=own.default is NODEFAULT and own.default_factory is NODEFAULT,
            multiple=read.multiple,
            allow_null=read.allow_null,
            default=None if read.mapped is None else read.mapped.directive,
            choices=read.choices,
            properties={} if read.shape is None else dict(fields_of(read.shape.of)),
            extra_keys=read.shape is not None and read.shape.extra,
        )
    return found


@lru_cache(maxsize=512)
def names_of(payload: type[Struct]) -> Mapping[str, str]:
    """Name as mappings write it → attribute."""
    return {own.encode_name: own.name for own in msgspec.structs.fields(payload)}


@lru_cache(maxsize=512)
def defaults_of(payload: type[Struct]) -> Mapping[str, Any]:
    """Field → its own mapping, where it has one."""
    found = {}
    for own in msgspec.structs.fields(payload):
        read = _Read()
        _read(own.type, read)
        if read.mapped is not None:
            found[own.encode_name] = read.mapped.directive
    return found


def _read(annotation: Any, into: _Read) -> None:
    origin = get_origin(annotation)
    if origin is Annotated:
        inner, *marks = get_args(annotation)
        _read(inner, into)
        for mark in marks:
            if isinstance(mark, Mapped):
                into.mapped = mark
            elif isinstance(mark, Shape):
                into.shape = mark
            elif isinstance(mark, Kind):
                into.kind = mark.name
            elif isinstance(mark, Meta):
                into.description = mark.description or ""
    elif origin in (Union, types.UnionType):
        members = get_args(annotation)
        into.allow_null = type(None) in members and UnsetType in members
        for member in members:
            if member not in (type(None), UnsetType):
                _read(member, into)
    elif origin is Literal:
        into.choices = get_args(annotation)
        into.kind = _TYPES[type(into.choices[0])]
    elif origin is list:
        into.multiple = True
        (inner,) = get_args(annotation)
        _read(inner, into)
    else:
        into.kind = _TYPES.get(origin or annotation)
