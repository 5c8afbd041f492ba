"""Syntax tree → closures over a decoded event: what can be decided beforehand is, once."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from typing import Any, Final

from msgspec import Struct

from cdpd.mapping.fql.errors import FqlError, FqlSyntaxError
from cdpd.mapping.fql.functions import FUNCTIONS, SEMVER_OPERATORS, TEXT, wrong_type
from cdpd.mapping.fql.glob import BadPattern, compile_glob
from cdpd.mapping.fql.syntax import Call, Compare, Junction, ListOf, Literal, Node, Not, Operator, Path
from cdpd.mapping.fql.values import Kind, equal, kind_of, named

Fields = Mapping[str, Any]
Read = Callable[[Fields], Any]
Test = Callable[[Fields], bool]
_SCALARS: Final = ("string", "number", "bool", "null", "")
_ORDERS: Final[Mapping[Operator, Callable[[Any, Any], bool]]] = {
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
}


class Compiled(Struct, frozen=True):
    """What a node became: how to get its value, and the value's type, "" where only the event decides."""

    read: Read
    kind: Kind


class Compiler:
    """Compiles the nodes of one text, which its errors quote."""

    def __init__(self, text: str) -> None:
        self.text = text

    def error(self, node: Node, message: str, hint: str = "") -> FqlSyntaxError:
        return FqlSyntaxError(self.text, node.at, message, hint)

    def condition(self, node: Node) -> Test:
        """The node as yes or no: null counts as no, any other type is an error. Raises FqlSyntaxError."""
        made = self.value(node)
        if made.kind == "bool":
            return made.read
        if made.kind == "null":
            return lambda _: False
        if made.kind:
            found = f'"{node.value}"' if isinstance(node, Literal) else named(made.kind)
            raise self.error(node, f"expected a condition, found {found}", "compare it with something")
        read = made.read

        def test(event: Fields) -> bool:
            value = read(event)
            if value is True:
                return True
            if value is None or value is False:
                return False
            raise FqlError(f"expected true, false or null, found {named(kind_of(value))}{_of(node)}")

        return test

    def value(self, node: Node) -> Compiled:
        """The node as a value. Raises FqlSyntaxError for what could never be evaluated."""
        match node:
            case Literal(value):
                return Compiled(lambda _: value, kind_of(value))
            case Path(segments):
                return Compiled(read_path(segments), "")
            case ListOf(items):
                return self._list([self.value(item).read for item in items])
            case Not(operand):
                test = self.condition(operand)
                return Compiled(lambda event: not test(event), "bool")
            case Junction(word, operands):
                tests = [self.condition(operand) for operand in operands]
                return Compiled(all_of(tests) if word == "and" else any_of(tests), "bool")
            case Compare():
                return Compiled(self._comparison(node), "bool")
            case Call():
                return self._call(node)

    def _list(self, reads: list[Read]) -> Compiled:
        return Compiled(lambda event: [read(event) for read in reads], "list")

    # -- comparisons ---------------------------------------------------------------------------------------

    def _comparison(self, node: Compare) -> Test:
        left, right = self.value(node.left), self.value(node.right)
        if node.operator == "in":
            return self._membership(node, left, right)
        if node.operator == "=":
            return _equality(node, left, right)
        if node.operator == "!=":
            same = _equality(node, left, right)
            return lambda event: not same(event)
        return _order(_ORDERS[node.operator], left.read, right.read)

    def _membership(self, node: Compare, left: Compiled, right: Compiled) -> Test:
        if left.kind not in _SCALARS:
            raise self.error(
                node.left, f"{named(left.kind)} cannot be in a list", "the list stands on the right"
            )
        if right.kind not in ("list", "null", ""):
            hint = "for a part of a text write contains(text, part)" if right.kind == "string" else ""
            raise self.error(node.right, f"expected a list after in, found {named(right.kind)}", hint)
        read, read_list = left.read, right.read
        if isinstance(node.right, ListOf) and all(
            isinstance(item, Literal) and isinstance(item.value, str) for item in node.right.items
        ):
            texts = frozenset(read_list({}))

            def among(event: Fields) -> bool:
                value = read(event)
                if type(value) is str:
                    return value in texts
                _check_scalar(value, node.left)
                return False

            return among

        def test(event: Fields) -> bool:
            value, items = read(event), read_list(event)
            _check_scalar(value, node.left)
            if items is None:
                return False
            if not isinstance(items, list):
                raise FqlError(f"in: expected a list, found {named(kind_of(items))}{_of(node.right)}")
            return any(equal(value, item) for item in items)

        return test

    # -- calls ---------------------------------------------------------------------------------------------

    def _call(self, node: Call) -> Compiled:
        function = FUNCTIONS[node.name]
        arguments = [self.value(argument) for argument in node.arguments]
        for position, (argument, takes) in enumerate(zip(arguments, function.takes, strict=True)):
            if argument.kind and argument.kind not in takes:
                raise self.error(
                    node.arguments[position], wrong_type(node.name, position, argument.kind, takes)
                )
        if node.name == "match" and isinstance(node.arguments[1], Literal):
            return self._match(node.arguments[1], arguments[0].read)
        if node.name == "semver" and isinstance(node.arguments[1], Literal):
            self._check_operator(node.arguments[1])
        call, reads = function.call, [argument.read for argument in arguments]
        if len(reads) == 1:
            (only,) = reads
            return Compiled(lambda event: call(only(event)), function.gives)
        if len(reads) == 2:
            first, second = reads
            return Compiled(lambda event: call(first(event), second(event)), function.gives)
        return Compiled(lambda event: call(*[read(event) for read in reads]), function.gives)

    def _match(self, pattern: Literal, read: Read) -> Compiled:
        """`match` with a pattern that is written down: made ready once."""
        if not isinstance(pattern.value, str):  # null, which matches nothing
            slow = FUNCTIONS["match"].call
            return Compiled(lambda event: slow(read(event), None), "bool")
        try:
            matches = compile_glob(pattern.value)
        except BadPattern as error:
            raise self.error(pattern, f"the pattern is wrong: {error}") from None

        def test(event: Fields) -> bool:
            value = read(event)
            if type(value) is str:
                return matches(value)
            if value is None:
                return False
            raise FqlError(wrong_type("match", 0, kind_of(value), TEXT))

        return Compiled(test, "bool")

    def _check_operator(self, node: Literal) -> None:
        if node.value not in SEMVER_OPERATORS:
            hint = f"one of {' '.join(SEMVER_OPERATORS)}, in quotes"
            raise self.error(node, f"semver knows no operator {node.value!r}", hint)


def _of(node: Node) -> str:
    return f" in {'.'.join(node.segments)}" if isinstance(node, Path) else ""


def _check_scalar(value: Any, node: Node) -> None:
    if type(value) is list or type(value) is dict:
        raise FqlError(f"in: {named(kind_of(value))} cannot be in a list{_of(node)}")


def all_of(tests: list[Test]) -> Test:
    """`and` of any number; none: true."""
    if len(tests) == 2:
        first, second = tests
        return lambda event: first(event) and second(event)

    def test(event: Fields) -> bool:
        for one in tests:  # noqa: SIM110 - all() with a generator takes twice as long
            if not one(event):
                return False
        return True

    return test


def any_of(tests: list[Test]) -> Test:
    """`or` of any number; none: false."""
    if len(tests) == 2:
        first, second = tests
        return lambda event: first(event) or second(event)

    def test(event: Fields) -> bool:
        for one in tests:  # noqa: SIM110 - any() with a generator takes twice as long
            if one(event):
                return True
        return False

    return test


def _equality(node: Compare, left: Compiled, right: Compiled) -> Test:
    for one, other, read in ((node.right, node.left, left.read), (node.left, node.right, right.read)):
        if isinstance(one, Literal):
            return _equals(read, one.value, other)
    first, second = left.read, right.read

    def test(event: Fields) -> bool:
        try:
            return equal(first(event), second(event))
        except RecursionError:
            raise FqlError(f"{node.operator}: the values are nested too deep to compare") from None

    return test


def _equals(read: Read, wanted: Any, other: Node) -> Test:
    """Comparison with a value that is written down."""
    if isinstance(wanted, str):
        if isinstance(other, Path) and len(other.segments) == 1:
            (key,) = other.segments
            return lambda event: event.get(key) == wanted
        return lambda event: bool(read(event) == wanted)
    if wanted is None or isinstance(wanted, bool):
        return lambda event: read(event) is wanted

    def test(event: Fields) -> bool:
        value = read(event)
        return bool(value == wanted) and type(value) is not bool

    return test


def _order(compare: Callable[[Any, Any], bool], first: Read, second: Read) -> Test:
    """Two numbers, or two strings by code point; anything else is false."""

    def test(event: Fields) -> bool:
        left, right = first(event), second(event)
        one, other = type(left), type(right)
        if one is str or other is str:
            return one is other and compare(left, right)
        return (one is int or one is float) and (other is int or other is float) and compare(left, right)

    return test


def read_path(segments: tuple[str, ...]) -> Read:
    """The value at a path; None for a missing one, through scalars too. A number takes an element of a list."""
    first, *rest = segments
    if not rest:
        return lambda event: event.get(first)
    if len(rest) == 1:
        (second,) = rest

        def two(event: Fields) -> Any:
            value = event.get(first)
            return value.get(second) if type(value) is dict else _step(value, second)

        return two

    def read(event: Fields) -> Any:
        value = event.get(first)
        for segment in rest:
            value = value.get(segment) if type(value) is dict else _step(value, segment)
        return value

    return read


def _step(value: Any, segment: str) -> Any:
    if type(value) is list and is_index(segment):
        place = int(segment)
        return value[place] if place < len(value) else None
    return None


def is_index(segment: str) -> bool:
    """Whether a path's segment can be the place of an element: `0`, `12`, not `01`."""
    return (
        segment.isascii()
        and segment.isdigit()
        and len(segment) < 10
        and (segment == "0" or segment[0] != "0")
    )
