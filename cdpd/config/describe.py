"""What a typed Config offers: each option with type, default and the docstring under its field."""

from __future__ import annotations

import ast
import inspect
import textwrap
import typing
from collections.abc import Iterator
from datetime import date, datetime, time
from typing import Any

import msgspec
from msgspec import NODEFAULT, Struct

from cdpd.config.shape import expected, found


class Option(Struct, frozen=True, omit_defaults=True):
    """One option of a Config."""

    name: str
    type: str
    """In words, e.g. `a whole number`."""
    required: bool
    default: str
    """As it would be written in TOML; "" where required or where there is none."""
    doc: str
    inner: list[Option] = []
    """Of an option that is a table, or a list of tables: the keys of it."""


def options(config: type[Struct], _around: tuple[type, ...] = ()) -> list[Option]:
    """Every option, those of base classes first, as the struct has them."""
    docs = field_docs(config)
    tables = inner_structs(config)
    out = []
    for field in msgspec.structs.fields(config):
        default: Any = field.default
        if default is NODEFAULT and field.default_factory is not NODEFAULT:
            default = field.default_factory()
        out.append(
            Option(
                name=field.encode_name,
                type=expected(field.type),
                required=field.required,
                default="" if field.required or default is None else toml_text(default),
                doc=docs.get(field.name, ""),
                inner=_inner(tables.get(field.encode_name), (*_around, config)),
            )
        )
    return out


def _inner(table: type[Struct] | None, around: tuple[type, ...]) -> list[Option]:
    return [] if table is None or table in around else options(table, around)


def field_docs(config: type) -> dict[str, str]:
    """Field → the string literal under it in the class's source, base classes included; {} without source."""
    docs: dict[str, str] = {}
    for cls in reversed(config.__mro__):
        try:
            source = textwrap.dedent(inspect.getsource(cls))
            body = ast.parse(source).body[0]
        except (OSError, TypeError, SyntaxError):
            continue
        if not isinstance(body, ast.ClassDef):
            continue
        for statement, below in zip(body.body, body.body[1:], strict=False):
            if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
                match below:
                    case ast.Expr(value=ast.Constant(value=str(text))):
                        docs[statement.target.id] = " ".join(text.split())
    return docs


def first_line(doc: str | None) -> str:
    """The first paragraph of a docstring, on one line."""
    return " ".join((doc or "").strip().partition("\n\n")[0].split())


def inner_structs(config: type[Struct]) -> dict[str, type[Struct]]:
    """Field → the struct that its value is one of, or a list or a table of (unions with None included)."""
    inner = {}
    for field in msgspec.structs.fields(config):
        for kind in _parts(field.type):
            if isinstance(kind, type) and issubclass(kind, Struct):
                inner[field.encode_name] = kind
    return inner


def _parts(kind: Any) -> Iterator[Any]:
    yield kind
    for part in typing.get_args(kind):
        yield from _parts(part)


def toml_text(value: object) -> str:
    """A default as TOML; structs and tables as inline tables."""
    if isinstance(value, str):
        return msgspec.json.encode(value).decode()
    if isinstance(value, bool | int | float | datetime | date | time):
        return found(value)
    if isinstance(value, list | tuple | set | frozenset):
        return f"[{', '.join(toml_text(item) for item in value)}]"
    if isinstance(value, Struct):
        value = msgspec.structs.asdict(value)
    if isinstance(value, dict):
        inner = ", ".join(f"{key} = {toml_text(item)}" for key, item in value.items() if item is not None)
        return f"{{ {inner} }}" if inner else "{}"
    return str(value)
