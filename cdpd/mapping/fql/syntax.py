"""The syntax tree of an FQL expression. `at` is a node's place in the text, in characters from 0."""

from __future__ import annotations

from typing import Literal as Only
from typing import TypeAlias

from msgspec import Struct

Operator = Only["=", "!=", ">", ">=", "<", "<=", "in"]


class Literal(Struct, frozen=True):
    """A string, number, true, false or null; `all` is true."""

    value: str | int | float | bool | None
    at: int = 0


class ListOf(Struct, frozen=True):
    """`[a, b]`"""

    items: tuple[Node, ...]
    at: int = 0


class Path(Struct, frozen=True):
    """`properties.product\\ 1.price`; at least one segment, none empty."""

    segments: tuple[str, ...]
    at: int = 0


class Call(Struct, frozen=True):
    """`contains(event, 'Order')`; the name is a known function's, with as many arguments as it takes."""

    name: str
    arguments: tuple[Node, ...]
    at: int = 0


class Compare(Struct, frozen=True):
    """`left operator right`; `at` is the operator's place."""

    operator: Operator
    left: Node
    right: Node
    at: int = 0


class Not(Struct, frozen=True):
    """`!operand`"""

    operand: Node
    at: int = 0


class Junction(Struct, frozen=True):
    """Two or more operands joined by the same word."""

    word: Only["and", "or"]
    operands: tuple[Node, ...]
    at: int = 0


Node: TypeAlias = Literal | ListOf | Path | Call | Compare | Not | Junction
