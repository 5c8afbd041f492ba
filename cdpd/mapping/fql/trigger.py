"""Triggers: the smaller FQL that starts an action. Its operators have results of their own for missing values.

Spec: connections.md §8.1. Every condition compares one field with one written value, so that no event can make a
trigger fail; `!` is the opposite operator of each condition in its reach (`!(a and b)` is `!a or !b`).
"""

from __future__ import annotations

import operator as operators
from collections.abc import Callable
from typing import Any, Final

from cdpd.mapping.closest import closest
from cdpd.mapping.fql.compile import Fields, Read, Test, all_of, any_of, read_path
from cdpd.mapping.fql.errors import FqlSyntaxError
from cdpd.mapping.fql.filter import Filter, keys_of
from cdpd.mapping.fql.parser import parse
from cdpd.mapping.fql.syntax import Call, Compare, Junction, ListOf, Literal, Node, Not, Path

ALONE: Final = ("type", "event", "name", "userId")
SECTIONS: Final = ("properties", "traits", "context")
_OPPOSITE: Final = {"=": "!=", "!=": "=", ">": "<=", "<=": ">", "<": ">=", ">=": "<"}
_COMPARED: Final[dict[str, Callable[[Any, Any], bool]]] = {
    "=": operators.eq, "!=": operators.ne, ">": operators.gt, ">=": operators.ge, "<": operators.lt, "<=": operators.le,
}  # fmt: skip
_SWAPPED: Final = {"=": "=", "!=": "!=", ">": "<", "<": ">", ">=": "<=", "<=": ">="}


def compile_trigger(text: str) -> Filter:
    """A mapping's trigger. Raises FqlSyntaxError; its `test` raises nothing."""
    node = parse(text)
    return Filter(text, _Triggers(text).test(node, False), keys_of(node))


class _Triggers:
    def __init__(self, text: str) -> None:
        self.text = text

    def error(self, node: Node, message: str, hint: str = "") -> FqlSyntaxError:
        return FqlSyntaxError(self.text, node.at, message, hint)

    def test(self, node: Node, negated: bool) -> Test:
        match node:
            case Not(operand):
                return self.test(operand, not negated)
            case Junction(word, operands):
                tests = [self.test(operand, negated) for operand in operands]
                return all_of(tests) if (word == "and") is not negated else any_of(tests)
            case Compare():
                return self.comparison(node, negated)
            case Call():
                return self.call(node, negated)
            case Literal(value) if isinstance(value, bool):
                answer = value is not negated
                return lambda _: answer
            case Path(segments):
                name = ".".join(segments)
                raise self.error(node, "a trigger compares a field with a value", f"write {name} = true")
        raise self.error(node, "expected a condition", "compare a field with a value")

    def field(self, node: Node) -> Read:
        if isinstance(node, Call):
            raise self.error(node, f"a trigger compares fields as they are, not {node.name}(…)", "filters do")
        if not isinstance(node, Path):
            raise self.error(node, "a trigger compares a field with a value", "put the field on the left")
        first, *rest = node.segments
        if first in ALONE and rest:
            raise self.error(node, f"{first} has no fields inside")
        if first in SECTIONS and not rest:
            raise self.error(node, f"{first} is an object", f"write {first}.NAME")
        if first not in ALONE and first not in SECTIONS:
            near = closest(first, (*ALONE, *SECTIONS))
            hint = f"did you mean {near}?" if near else "filters may read every field"
            known = ", ".join((*ALONE, *(f"{section}.…" for section in SECTIONS)))
            raise self.error(node, f"a trigger cannot read {first}; it reads {known}", hint)
        return read_path(node.segments)

    # -- field and value -----------------------------------------------------------------------------------

    def comparison(self, node: Compare, negated: bool) -> Test:
        if node.operator == "in":
            return self.among(node, negated)
        left, right, operator = node.left, node.right, str(node.operator)
        if isinstance(left, Literal) and isinstance(right, Path):
            left, right, operator = right, left, _SWAPPED[operator]
        read = self.field(left)
        if not isinstance(right, Literal):
            raise self.error(right, "a trigger compares a field with a written value")
        return self.compared(right, read, _OPPOSITE[operator] if negated else operator)

    def compared(self, node: Literal, read: Read, operator: str) -> Test:
        value = node.value
        if operator in ("=", "!="):
            equal = operator == "="
            if isinstance(value, str):
                return _is(read, value) if equal else _is_not(read, value)
            if value is None or isinstance(value, bool):
                return _same(read, value) if equal else _not_same(read, value)
            return _number(read, operator, value)
        if isinstance(value, str | bool) or value is None:
            raise self.error(node, f"{operator} compares numbers in a trigger")
        return _number(read, operator, value)

    def among(self, node: Compare, negated: bool) -> Test:
        """`f in [a, b]` is `f = a or f = b`."""
        read = self.field(node.left)
        if not isinstance(node.right, ListOf):
            raise self.error(node.right, "expected a list of values after in", "write ['a', 'b']")
        tests: list[Test] = []
        for item in node.right.items:
            if not isinstance(item, Literal):
                raise self.error(item, "a trigger compares a field with written values")
            tests.append(self.compared(item, read, "!=" if negated else "="))
        return all_of(tests) if negated else any_of(tests)

    # -- text ----------------------------------------------------------------------------------------------

    def call(self, node: Call, negated: bool) -> Test:
        if node.name not in ("contains", "match"):
            raise self.error(
                node, f"a trigger cannot call {node.name}", "it knows contains and match; filters know all"
            )
        read = self.field(node.arguments[0])
        wanted = node.arguments[1]
        if not isinstance(wanted, Literal) or not isinstance(wanted.value, str):
            raise self.error(wanted, f"{node.name} in a trigger takes a written text")
        text = wanted.value
        if node.name == "contains":
            return _text(read, lambda value: text in value, negated)
        starts, ends = text.endswith("*"), text.startswith("*")
        if starts and ends and len(text) > 1:
            raise self.error(wanted, "a star at both ends", "write contains(field, 'text')")
        if starts:
            prefix = text[:-1]
            return _text(read, lambda value: value.startswith(prefix), negated)
        if ends:
            suffix = text[1:]
            return _text(read, lambda value: value.endswith(suffix), negated)
        hint = "write 'start*' or '*end'; filters know more patterns"
        raise self.error(wanted, "match in a trigger has one star, at the end or the start", hint)


def _is(read: Read, value: str) -> Test:
    return lambda event: bool(read(event) == value)


def _is_not(read: Read, value: str) -> Test:
    return lambda event: bool(read(event) != value)


def _same(read: Read, value: bool | None) -> Test:
    return lambda event: read(event) is value


def _not_same(read: Read, value: bool | None) -> Test:
    return lambda event: read(event) is not value


def _number(read: Read, operator: str, wanted: int | float) -> Test:
    compare = _COMPARED[operator]

    def test(event: Fields) -> bool:
        value = read(event)
        return (type(value) is int or type(value) is float) and compare(value, wanted)

    return test


def _text(read: Read, says: Callable[[str], bool], negated: bool) -> Test:
    """A text that does, or does not; anything else is false in both."""

    def test(event: Fields) -> bool:
        value = read(event)
        return type(value) is str and says(value) is not negated

    return test
