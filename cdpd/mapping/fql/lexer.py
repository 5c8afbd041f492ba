"""FQL text → tokens, with a message and a hint for what is no FQL."""

from __future__ import annotations

import re
from typing import Final, Literal

from msgspec import Struct

from cdpd.mapping.fql.errors import FqlSyntaxError
from cdpd.mapping.fql.paths import KEYWORDS, PLAIN

Kind = Literal["word", "path", "string", "number", "sign", "end"]
_SPACE: Final = " \t\r\n"
_NUMBER: Final = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
_ALMOST_NUMBER: Final = re.compile(r"-?[0-9][0-9.]*")
_ELEMENT: Final = re.compile(r"\[([0-9]+)\]")
_SIGNS: Final = ("!=", ">=", "<=", "=", ">", "<", "!", "(", ")", "[", "]", ",")
_FOREIGN: Final = {
    "==": ("=", "FQL compares with ="),
    "===": ("=", "FQL compares with ="),
    "!==": ("!=", "FQL compares with !="),
    "<>": ("!=", "FQL compares with !="),
    "&&": ("and", "write and"),
    "&": ("and", "write and"),
    "||": ("or", "write or"),
    "|": ("or", "write or"),
    "=~": ("match", "write match(field, 'pattern*')"),
    "=>": (">=", "write >="),
    "=<": ("<=", "write <="),
}
"""What other languages write, longest first where it matters: sign → (ours, hint)."""
_QUOTES: Final = "\u2018\u2019\u201a\u201b\u201c\u201d\u201e\u201f`\xab\xbb"
"""Quotes of word processors, and the backtick."""


class Token(Struct, frozen=True):
    """One word or sign. `value` of a path is its tuple of names, of a string or a number its value."""

    kind: Kind
    text: str
    """As written; of the end: ""."""
    at: int
    value: tuple[str, ...] | str | int | float | None = None


def tokens(text: str) -> list[Token]:
    """All tokens, the last of kind `end`. Raises FqlSyntaxError."""
    found: list[Token] = []
    at, end = 0, len(text)
    while at < end:
        character = text[at]
        if character in _SPACE:
            at += 1
            continue
        token = _token(text, at, character)
        found.append(token)
        at += len(token.text)
    found.append(Token("end", "", end))
    return found


def _token(text: str, at: int, character: str) -> Token:
    if character in "'\"":
        return _string(text, at, character)
    if character in PLAIN or character == "\\":
        return _number(text, at) or _path(text, at)
    if text.startswith("$.", at):
        raise FqlSyntaxError(text, at, "a path has no $. in front", "write properties.plan")
    for length in (3, 2, 1):
        ours = _FOREIGN.get(text[at : at + length])
        if ours:
            raise FqlSyntaxError(text, at, f"{text[at : at + length]} is no operator here", ours[1])
    for sign in _SIGNS:
        if text.startswith(sign, at):
            return Token("sign", sign, at)
    raise _foreign(text, at, character)


def _foreign(text: str, at: int, character: str) -> FqlSyntaxError:
    if character in _QUOTES:
        return FqlSyntaxError(text, at, f"{character} is no quote here", "write ' or \"")
    if character == ".":
        return FqlSyntaxError(text, at, "a path starts with a name", "write properties.plan")
    if character in "+*/%":
        return FqlSyntaxError(text, at, f"unexpected {character}", "FQL does not calculate")
    if character in "{}":
        return FqlSyntaxError(text, at, f"unexpected {character}", "a list is written ['a', 'b']")
    shown = character if character.isprintable() else ascii(character)
    return FqlSyntaxError(
        text, at, f"unexpected {shown}", "text goes into quotes; in a name of a field write \\ before it"
    )


def _number(text: str, at: int) -> Token | None:
    """None where a path starts here, like `2nd` or `1.a`."""
    match = _NUMBER.match(text, at)
    if match is None:
        return None
    end = match.end()
    if end < len(text) and (text[end] in PLAIN or text[end] in ".\\"):
        return None
    written = match.group()
    if written.lstrip("-").isdigit():
        if len(written) > 400:
            raise FqlSyntaxError(text, at, "a number of more than 400 digits")
        return Token("number", written, at, int(written))
    value = float(written)
    if value in (float("inf"), float("-inf")):
        raise FqlSyntaxError(text, at, "a number too large for a float")
    return Token("number", written, at, value)


def _path(text: str, at: int) -> Token:
    names: list[str] = []
    name: list[str] = []
    place, end = at, len(text)
    while place < end:
        character = text[place]
        if character in PLAIN:
            name.append(character)
        elif character == "\\":
            place += 1
            if place == end:
                raise FqlSyntaxError(text, place - 1, "a backslash with nothing behind it")
            name.append(text[place])
        elif character == ".":
            if not name:
                raise FqlSyntaxError(text, place, "a name is missing between two dots")
            names.append("".join(name))
            name = []
        else:
            break
        place += 1
    written = text[at:place]
    after = text[place : place + 1]
    if after == "$" or (after.isalnum() and not after.isascii()):
        raise FqlSyntaxError(text, place, f"unexpected {after}", f"in a name of a field write \\{after}")
    if not name:
        raise FqlSyntaxError(text, place - 1, "a path ends with a name, not with a dot")
    if _ALMOST_NUMBER.fullmatch(written):
        hint = f"a version goes into quotes; a field of that name is written \\{written}"
        raise FqlSyntaxError(text, at, f"{written} is no number", hint)
    names.append("".join(name))
    element = _ELEMENT.match(text, place)
    if element:
        raise FqlSyntaxError(text, place, "an element is not taken with [ ]", f"write {written}.{element[1]}")
    kind: Kind = "word" if written in KEYWORDS else "path"
    return Token(kind, written, at, tuple(names))


def _string(text: str, at: int, quote: str) -> Token:
    parts: list[str] = []
    place, end = at + 1, len(text)
    while place < end:
        character = text[place]
        if character == quote:
            return Token("string", text[at : place + 1], at, "".join(parts))
        if character == "\\" and text[place + 1 : place + 2] in ("\\", "'", '"'):
            place += 1
            character = text[place]
        parts.append(character)  # any other backslash stays: patterns have their own
        place += 1
    raise FqlSyntaxError(text, at, f"this {quote} is never closed", f"end the text with {quote}")
