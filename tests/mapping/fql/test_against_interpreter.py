"""Compiled FQL agrees with a tree-walking interpreter that is written from the specification alone."""

from __future__ import annotations

import operator
from typing import Any

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from cdpd.mapping.fql.errors import FqlError
from cdpd.mapping.fql.filter import compile_filter

Tree = tuple[Any, ...]


class WrongType(Exception):
    """The interpreter's own error."""


# -- the interpreter -----------------------------------------------------------------------------------------


def kind(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int | float):
        return "number"
    return {str: "string", list: "list", dict: "object"}[type(value)]


def same(a: Any, b: Any) -> bool:
    if kind(a) != kind(b):
        return False
    if isinstance(a, list):
        return [
            1 for i in range(max(len(a), len(b))) if i >= min(len(a), len(b)) or not same(a[i], b[i])
        ] == []
    if isinstance(a, dict):
        return set(a) == set(b) and all(same(a[k], b[k]) for k in a)
    return bool(a == b)


def truth(value: Any) -> bool:
    if kind(value) not in ("bool", "null"):
        raise WrongType
    return bool(value)


def text(value: Any) -> str | None:
    if kind(value) not in ("string", "null"):
        raise WrongType
    return value  # type: ignore[no-any-return]


def look_up(value: Any, names: list[str]) -> Any:
    for name in names:
        if isinstance(value, dict):
            value = value.get(name)
        elif isinstance(value, list) and name in map(str, range(len(value))):
            value = value[int(name)]
        else:
            return None
    return value


ORDERS = {">": operator.gt, ">=": operator.ge, "<": operator.lt, "<=": operator.le}


def evaluate(tree: Tree, event: Any) -> Any:
    match tree:
        case ("literal", value):
            return value
        case ("list", items):
            return [evaluate(item, event) for item in items]
        case ("path", names):
            return look_up(event, names)
        case ("not", inner):
            return not truth(evaluate(inner, event))
        case ("and", parts):
            return all(truth(evaluate(part, event)) for part in parts)
        case ("or", parts):
            return any(truth(evaluate(part, event)) for part in parts)
        case ("compare", sign, left, right):
            return compare(sign, evaluate(left, event), evaluate(right, event))
        case ("call", name, arguments):
            return call(name, [evaluate(argument, event) for argument in arguments])
    raise AssertionError(tree)


def compare(sign: str, a: Any, b: Any) -> bool:
    if sign == "=":
        return same(a, b)
    if sign == "!=":
        return not same(a, b)
    if sign == "in":
        if kind(a) in ("list", "object") or kind(b) not in ("list", "null"):
            raise WrongType
        return any(same(a, item) for item in b or [])
    if (kind(a), kind(b)) in (("number", "number"), ("string", "string")):
        return ORDERS[sign](a, b)
    return False


def call(name: str, given: list[Any]) -> Any:
    first = given[0]
    if name == "contains":
        whole, part = text(first), text(given[1])
        return None not in (whole, part) and whole.find(part) >= 0  # type: ignore[union-attr, arg-type]
    if name == "length":
        if kind(first) not in ("string", "list", "null"):
            raise WrongType
        return len(first.encode() if isinstance(first, str) else first or [])
    if name in ("lowercase", "uppercase", "snakecase"):
        whole = text(first)
        change = {
            "lowercase": str.lower,
            "uppercase": str.upper,
            "snakecase": lambda t: "_".join(t.split(" ")),
        }
        return None if whole is None else change[name](whole)
    if name == "typeof":
        return kind(first)
    if name == "bool":
        return not any(same(first, empty) for empty in (None, "", 0, [], "false", False))
    raise AssertionError(name)


# -- trees and their text --------------------------------------------------------------------------------------


def escaped(name: str) -> str:
    return "".join(f"\\{c}" if c in " .ä" else c for c in name)


def written(tree: Tree, loosest: int = 0) -> str:
    """As little in parentheses as the grammar allows; `loosest`: 0 or, 1 and, 2 not, 3 comparison, 4 value."""
    match tree:
        case ("literal", None):
            return "null"
        case ("literal", bool(value)):
            return str(value).lower()
        case ("literal", str(value)):
            return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"
        case ("literal", value):
            return repr(value)
        case ("list", items):
            return "[" + ", ".join(written(item, 4) for item in items) + "]"
        case ("path", names):
            return ".".join(map(escaped, names))
        case ("call", name, arguments):
            return f"{name}({','.join(written(argument, 4) for argument in arguments)})"
        case ("not", inner):
            return bracketed("!" + written(inner, 2), loosest > 2)
        case ("compare", sign, left, right):
            return bracketed(f"{written(left, 4)} {sign} {written(right, 4)}", loosest > 3)
        case ("and", parts):
            return bracketed(" and ".join(written(part, 2) for part in parts), loosest > 1)
        case ("or", parts):
            return bracketed(" or ".join(written(part, 1) for part in parts), loosest > 0)
    raise AssertionError(tree)


def bracketed(inner: str, needed: bool) -> str:
    return f"({inner})" if needed else inner


NAMES = st.sampled_from(["a", "b", "c d", "0", "1", "x.y", "ä"])
TEXTS = st.sampled_from(["", "a", "A b", "it's", "\\", "false", "ä", "b"])
NUMBERS = st.sampled_from([0, 1, -1, 1.0, 0.5, 2, 1e300])
SCALARS = st.none() | st.booleans() | NUMBERS | TEXTS
EVENTS = st.dictionaries(
    NAMES,
    st.recursive(
        SCALARS, lambda v: st.lists(v, max_size=3) | st.dictionaries(NAMES, v, max_size=3), max_leaves=5
    ),
    max_size=5,
)

# A path starts with a letter, so that it is none of the numbers.
FIRST = st.sampled_from(["a", "b", "c d"])
PATHS = st.tuples(
    st.just("path"), st.tuples(FIRST, st.lists(NAMES, max_size=2)).map(lambda pair: [pair[0], *pair[1]])
)
LITERALS = st.tuples(st.just("literal"), SCALARS)
TEXT_LITERALS = st.tuples(st.just("literal"), st.none() | TEXTS)


def calls(values: Any) -> Any:
    """Calls whose written arguments have a type that the function takes; what is in the event may be any."""
    text_values = TEXT_LITERALS | PATHS
    return st.one_of(
        st.tuples(st.just("call"), st.just("contains"), st.tuples(text_values, text_values)),
        st.tuples(st.just("call"), st.just("length"), st.tuples(text_values)),
        st.tuples(
            st.just("call"), st.sampled_from(["lowercase", "uppercase", "snakecase"]), st.tuples(text_values)
        ),
        st.tuples(st.just("call"), st.sampled_from(["typeof", "bool"]), st.tuples(values)),
    )


LISTS = st.tuples(st.just("list"), st.lists(LITERALS | PATHS, max_size=3))
VALUES = LITERALS | PATHS | LISTS | calls(LITERALS | PATHS | LISTS)
COMPARISONS = st.tuples(
    st.just("compare"), st.sampled_from(["=", "!=", ">", ">=", "<", "<="]), VALUES, VALUES
)
MEMBERSHIPS = st.tuples(st.just("compare"), st.just("in"), LITERALS | PATHS, LISTS | PATHS)
LEAVES = (
    COMPARISONS | MEMBERSHIPS | PATHS | st.tuples(st.just("literal"), st.none() | st.booleans())
    | st.tuples(st.just("call"), st.just("bool"), st.tuples(VALUES))
)  # fmt: skip
CONDITIONS = st.recursive(
    LEAVES,
    lambda inner: (
        st.tuples(st.just("not"), inner)
        | st.tuples(st.sampled_from(["and", "or"]), st.lists(inner, min_size=2, max_size=4))
        | st.tuples(st.just("compare"), st.sampled_from(["=", "!="]), inner, inner)
    ),
    max_leaves=8,
)


@settings(max_examples=500, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(CONDITIONS, EVENTS)
@example(("not", ("compare", "=", ("path", ["a"]), ("literal", "a"))), {"a": "b"})
@example(("or", [("path", ["a"]), ("literal", True)]), {"a": 1})
def test_the_answer_and_the_errors_are_the_interpreters(tree: Tree, event: dict[str, Any]) -> None:
    compiled = compile_filter(written(tree))
    assert _answer(lambda: compiled.test(event), FqlError) == _answer(
        lambda: truth(evaluate(tree, event)), WrongType
    )
    read = {key: value for key, value in event.items() if key in compiled.paths}
    assert _answer(lambda: compiled.test(read), FqlError) == _answer(lambda: compiled.test(event), FqlError)


def _answer(ask: Any, error: type[Exception]) -> bool | str:
    try:
        return bool(ask())
    except error:
        return "error"
