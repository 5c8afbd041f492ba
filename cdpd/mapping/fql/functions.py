"""FQL's functions. Each takes decoded JSON values and raises FqlError for a type that it cannot take.

Where the specification leaves a case open: a null among the arguments of a text function makes the result null (false
where it says yes or no), and so do `number(null)` and `string(null)`; `string` of a list or object is its JSON.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec
from msgspec import Struct

from cdpd.mapping.fql.errors import FqlError
from cdpd.mapping.fql.glob import BadPattern, compile_glob
from cdpd.mapping.fql.values import Kind, kind_of, named
from cdpd.mapping.number_text import number_text

_VERSION: Final = re.compile(r"[0-9]{1,100}(?:\.[0-9]{1,100}){0,2}")
_NUMBER: Final = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_WORD: Final = re.compile(r"(?:^|(?<=\s))\S")
_MOST_DIGITS: Final = 400
TEXT: Final = frozenset[Kind](("string", "null"))
ANY: Final = frozenset[Kind](("string", "number", "list", "bool", "null", "object"))

Compared = Callable[[Any, Any], bool]
SEMVER_OPERATORS: Final[Mapping[str, Compared]] = {
    "=": operator.eq,
    "!=": operator.ne,
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
}


class Function(Struct, frozen=True):
    """What may be called: its name, parameters for messages and the types they take, and the result's type."""

    name: str
    parameters: tuple[str, ...]
    takes: tuple[frozenset[Kind], ...]
    gives: Kind
    """"" where it depends on the arguments."""
    call: Callable[..., Any]

    @property
    def usage(self) -> str:
        return f"{self.name}({', '.join(self.parameters)})"


def wrong_type(function: str, position: int, kind: Kind, takes: frozenset[Kind]) -> str:
    """The message for an argument that the function does not take."""
    wanted = " or ".join(named(one) for one in ("string", "number", "bool", "list") if one in takes)
    return f"{function}: argument {position + 1} is {named(kind)}, expected {wanted}"


def _text(function: str, position: int, value: object) -> None:
    if not isinstance(value, str) and value is not None:
        raise FqlError(wrong_type(function, position, kind_of(value), TEXT))


def _contains(value: Any, part: Any) -> bool:
    if type(value) is str and type(part) is str:
        return part in value
    _text("contains", 0, value)
    _text("contains", 1, part)
    return False


def _length(value: Any) -> int:
    if isinstance(value, str):
        return len(value) if value.isascii() else len(value.encode("utf-8", "surrogatepass"))
    if isinstance(value, list):
        return len(value)
    if value is None:
        return 0
    raise FqlError(wrong_type("length", 0, kind_of(value), TEXT | {"list"}))


def _changed(name: str, change: Callable[[str], str]) -> Function:
    def call(value: Any) -> str | None:
        if isinstance(value, str):
            return change(value)
        _text(name, 0, value)
        return None

    return Function(name, ("text",), (TEXT,), "", call)


def _title(text: str) -> str:
    return _WORD.sub(lambda found: found.group().upper(), text)


def _typeof(value: Any) -> str:
    return kind_of(value)


def _match(value: Any, pattern: Any) -> bool:
    _text("match", 0, value)
    _text("match", 1, pattern)
    if value is None or pattern is None:
        return False
    try:
        return compile_glob(pattern)(value)
    except BadPattern as error:
        raise FqlError(f"match: the pattern {pattern!r} is wrong: {error}") from None


def version_of(value: Any) -> tuple[int, int, int] | None:
    """`"1.2"` → (1, 2, 0); None for what is no version of one to three numbers."""
    if not isinstance(value, str) or not _VERSION.fullmatch(value):
        return None
    first, second, third = (*map(int, value.split(".")), 0, 0)[:3]
    return first, second, third


def _semver(value: Any, sign: Any, other: Any) -> bool:
    compared = SEMVER_OPERATORS.get(sign) if isinstance(sign, str) else None
    if compared is None:
        raise FqlError(f"semver: the operator is one of {' '.join(SEMVER_OPERATORS)}, as text")
    left, right = version_of(value), version_of(other)
    return left is not None and right is not None and compared(left, right)


def _bool(value: Any) -> bool:
    return not (value is None or value is False or value in ("", 0, "false") or value == [])


def _string(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return number_text(value)
    try:
        return msgspec.json.encode(value).decode()
    except (RecursionError, UnicodeEncodeError, OverflowError) as error:
        raise FqlError(f"string: no JSON can be made of it: {error}") from None


def _number(value: Any) -> int | float | None:
    if isinstance(value, bool):
        return int(value)
    if value is None or isinstance(value, int | float):
        return value
    if isinstance(value, str):
        written = value.strip(" \t\r\n")
        if len(written) <= _MOST_DIGITS and _NUMBER.fullmatch(written):
            number = float(written)
            digits = written.lstrip("+-")
            if digits.isdigit():
                return int(written)
            if number not in (float("inf"), float("-inf")):
                return number
        shown = value if len(value) <= 40 else f"{value[:40]}…"
        raise FqlError(f"number: {shown!r} is no number")
    raise FqlError(wrong_type("number", 0, kind_of(value), TEXT | {"number", "bool"}))


_ALL: Final = (
    Function("contains", ("text", "part"), (TEXT, TEXT), "bool", _contains),
    Function("length", ("text or list",), (TEXT | {"list"},), "number", _length),
    _changed("lowercase", str.lower),
    _changed("uppercase", str.upper),
    _changed("snakecase", lambda text: text.replace(" ", "_")),
    _changed("kebabcase", lambda text: text.replace(" ", "-")),
    _changed("titlecase", _title),
    Function("typeof", ("value",), (ANY,), "string", _typeof),
    Function("match", ("text", "pattern"), (TEXT, TEXT), "bool", _match),
    Function(
        "semver", ("version", "operator", "version"), (ANY, frozenset(("string",)), ANY), "bool", _semver
    ),
    Function("bool", ("value",), (ANY,), "bool", _bool),
    Function("string", ("value",), (ANY,), "", _string),
    Function("number", ("value",), (TEXT | {"number", "bool"},), "", _number),
)
FUNCTIONS: Final[Mapping[str, Function]] = {function.name: function for function in _ALL}
