"""Whole-string patterns of `match`: `*`, `?`, `[abc]`, `[a-z]`, `[^a-z]`, and `\\x` for a character as it is.

A pattern becomes a test whose time grows with the text times the pattern, whatever an event holds: the parts between
stars are matched leftmost first and never taken back.
"""

from __future__ import annotations

import re
from collections.abc import Callable


class BadPattern(ValueError):
    """A pattern that means nothing; `at` is the place in the pattern, from 0."""

    def __init__(self, message: str, at: int) -> None:
        super().__init__(message)
        self.at = at


def compile_glob(pattern: str) -> Callable[[str], bool]:
    """Text → whether all of it matches. Raises BadPattern."""
    parts = _parts(pattern)
    texts = [_plain(part) for part in parts]
    if None not in texts:
        simple = _simple([text or "" for text in texts])
        if simple is not None:
            return simple
    first, *rest = ("".join(characters for characters, _ in part) for part in parts)
    if not rest:
        return _whole(first)
    middle, last = rest[:-1], rest[-1]
    inner = "".join(f"(?>.*?{part})" for part in middle if part)
    return _whole(f"{first}{inner}.*{last}")


def _whole(expression: str) -> Callable[[str], bool]:
    fullmatch = re.compile(expression, re.DOTALL).fullmatch
    return lambda text: fullmatch(text) is not None


def _simple(texts: list[str]) -> Callable[[str], bool] | None:
    """The common shapes without a regular expression; None for others."""
    if len(texts) == 1:
        whole = texts[0]
        return lambda text: text == whole
    if len(texts) == 2:
        start, end = texts
        if not end:
            return lambda text: text.startswith(start)
        if not start:
            return lambda text: text.endswith(end)
    if len(texts) == 3 and not texts[0] and not texts[2]:
        inside = texts[1]
        return lambda text: inside in text
    return None


def _plain(part: list[tuple[str, str | None]]) -> str | None:
    """The text that a part matches, or None where it is more than one."""
    characters = [character for _, character in part]
    return None if None in characters else "".join(c or "" for c in characters)


def _parts(pattern: str) -> list[list[tuple[str, str | None]]]:
    """The pattern, split at its stars; each character as (regular expression, the one character it matches or None)."""
    parts: list[list[tuple[str, str | None]]] = [[]]
    at, end = 0, len(pattern)
    while at < end:
        character = pattern[at]
        at += 1
        if character == "*":
            parts.append([])
        elif character == "?":
            parts[-1].append((".", None))
        elif character == "[":
            expression, at = _class(pattern, at)
            parts[-1].append((expression, None))
        elif character == "\\":
            if at == end:
                raise BadPattern("a backslash with nothing behind it", at - 1)
            parts[-1].append((re.escape(pattern[at]), pattern[at]))
            at += 1
        else:
            parts[-1].append((re.escape(character), character))
    return parts


def _class(pattern: str, at: int) -> tuple[str, int]:
    """(regular expression, the place after the closing bracket) for a `[` just before `at`."""
    opened = at - 1
    negated = pattern.startswith("^", at)
    at += negated
    ranges: list[str] = []
    while not pattern.startswith("]", at):
        low, at = _member(pattern, at, opened)
        high = low
        if pattern.startswith("-", at) and not pattern.startswith("-]", at):
            high, at = _member(pattern, at + 1, opened)
            if high < low:
                raise BadPattern(f"the range {low}-{high} is backwards", opened)
        ranges.append(f"{re.escape(low)}-{re.escape(high)}")
    if not ranges:
        raise BadPattern("[] holds no character; a bracket itself is written \\[", opened)
    return f"[{'^' if negated else ''}{''.join(ranges)}]", at + 1


def _member(pattern: str, at: int, opened: int) -> tuple[str, int]:
    if pattern.startswith("\\", at):
        at += 1
    if at >= len(pattern):
        raise BadPattern("this [ is never closed; a bracket itself is written \\[", opened)
    return pattern[at], at + 1
