"""Patterns of `match`, against a matcher that tries everything."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cdpd.mapping.fql.glob import BadPattern, compile_glob

Part = str | tuple[bool, list[tuple[str, str]]]
"""`*`, `?`, a character behind a backslash (`\\x`), or (negated, ranges)."""


def matches(parts: list[Any], text: str) -> bool:
    if not parts:
        return not text
    first, rest = parts[0], parts[1:]
    if first == "*":
        return any(matches(rest, text[i:]) for i in range(len(text) + 1))
    if not text:
        return False
    if first == "?":
        return matches(rest, text[1:])
    if isinstance(first, tuple):
        negated, ranges = first
        inside = any(low <= text[0] <= high for low, high in ranges)
        return inside is not negated and matches(rest, text[1:])
    return text[0] == first[-1] and matches(rest, text[1:])


def written(part: Any) -> str:
    if isinstance(part, tuple):
        negated, ranges = part
        inner = "".join(rf"\{low}-\{high}" if low != high else rf"\{low}" for low, high in ranges)
        return f"[{'^' if negated else ''}{inner}]"
    return str(part)


CHARACTERS = st.sampled_from("ab-]^[\\.*?/\nä")
RANGES = st.tuples(CHARACTERS, CHARACTERS).map(lambda pair: (min(pair), max(pair)))
PARTS = st.lists(
    st.just("*")
    | st.just("?")
    | CHARACTERS.map(lambda c: f"\\{c}")
    | st.tuples(st.booleans(), st.lists(RANGES, min_size=1, max_size=3)),
    max_size=7,
)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(PARTS, st.text(CHARACTERS, max_size=8))
def test_a_pattern_matches_what_trying_everything_finds(parts: list[Any], text: str) -> None:
    pattern = "".join(map(written, parts))
    assert compile_glob(pattern)(text) is matches(parts, text)


@pytest.mark.parametrize(
    ("pattern", "text", "expected"),
    [
        ("*", "", True),
        ("*", "a/b\nc", True),
        ("", "", True),
        ("?", "", False),
        ("a?c", "abc", True),
        ("[abc]x", "bx", True),
        ("[a-c]x", "bx", True),
        ("[^a-c]x", "bx", False),
        ("[^a-c]x", "dx", True),
        ("[a-]", "-", True),
        (r"[\]]", "]", True),
        (r"a\*b", "a*b", True),
        (r"a\*b", "axb", False),
        ("a.c", "abc", False),
        ("Button *", "Button Clicked", True),
        ("button*", "Button Clicked", False),
        ("*ab*ab*", "abab", True),
        ("*ab*ab*", "aba", False),
        ("a*a", "a", False),
    ],
)
def test_the_whole_text_is_matched(pattern: str, text: str, expected: bool) -> None:
    assert compile_glob(pattern)(text) is expected


@pytest.mark.parametrize("pattern", ["[", "[a", "[]", "[^]", "[b-a]", "\\", "a[\\", "[a-"])
def test_a_pattern_that_means_nothing_is_refused(pattern: str) -> None:
    with pytest.raises(BadPattern):
        compile_glob(pattern)


def test_stars_are_never_taken_back() -> None:
    assert not compile_glob("*a*[ab]" * 40 + "c")("a" * 20_000)  # for ever, if they were
