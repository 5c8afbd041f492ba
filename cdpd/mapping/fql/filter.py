"""Filters: FQL that says yes or no about an event; and expressions for their value. Spec: connections.md §6."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from msgspec import Struct

from cdpd.mapping.closest import closest
from cdpd.mapping.fql.compile import Compiler, Read, Test
from cdpd.mapping.fql.parser import parse
from cdpd.mapping.fql.syntax import Call, Compare, Junction, ListOf, Node, Not, Path

KNOWN: Final = frozenset(
    (
        "type", "event", "name", "category", "userId", "anonymousId", "groupId", "previousId", "messageId",
        "properties", "traits", "context", "integrations", "timestamp", "originalTimestamp", "sentAt",
        "receivedAt", "version", "channel", "projectId",
    )
)  # fmt: skip
"""Top-level fields of an event (spec/event-spec.md §2); others are legal, and kept."""


class Filter(Struct, frozen=True):
    """A condition, compiled once; made by `compile_filter` or `compile_trigger`."""

    text: str
    test: Test
    """Decoded event → whether it matches. Raises FqlError where the types do not fit (a trigger never does): the event
    is then not to be sent."""
    paths: frozenset[str]
    """The top-level keys that it reads; `View.of` decodes just these."""
    warnings: tuple[str, ...] = ()
    """What is legal and looks mistyped."""


class Expression(Struct, frozen=True):
    """FQL for its value, compiled once; made by `compile_value`."""

    text: str
    value: Read
    """Decoded event → the value; None is null. Raises FqlError."""
    paths: frozenset[str]


def compile_filter(text: str) -> Filter:
    """A filter's condition. Raises FqlSyntaxError with the place, for what could never be evaluated too."""
    node = parse(text)
    return Filter(text, Compiler(text).condition(node), keys_of(node), tuple(_doubts(node)))


def compile_value(text: str) -> Expression:
    """An expression of any type, like `lowercase(properties.plan)`. Raises FqlSyntaxError."""
    node = parse(text)
    return Expression(text, Compiler(text).value(node).read, keys_of(node))


def keys_of(node: Node) -> frozenset[str]:
    """The top-level keys that an expression reads."""
    return frozenset(path.segments[0] for path in paths_in(node))


def paths_in(node: Node) -> Iterator[Path]:
    """Every path of an expression, from left to right."""
    match node:
        case Path():
            yield node
        case ListOf(items) | Call(arguments=items) | Junction(operands=items):
            for item in items:
                yield from paths_in(item)
        case Not(operand):
            yield from paths_in(operand)
        case Compare(left=left, right=right):
            yield from paths_in(left)
            yield from paths_in(right)


def _doubts(node: Node) -> Iterator[str]:
    for path in paths_in(node):
        key = path.segments[0]
        if key in KNOWN:
            continue
        near = closest(key, KNOWN)
        if near:
            yield f"column {path.at + 1}: events have no field {key} by themselves; did you mean {near}?"
        elif len(path.segments) == 1:
            yield f"column {path.at + 1}: {key} is read as a field; is text meant? then write '{key}'"
