"""A text that is no FQL is told with its place and what to write; no text does anything worse."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from cdpd.mapping.fql.errors import FqlSyntaxError
from cdpd.mapping.fql.filter import compile_filter, compile_value
from cdpd.mapping.fql.parser import DEEPEST, parse
from cdpd.mapping.fql.trigger import compile_trigger


def refused(text: str) -> FqlSyntaxError:
    with pytest.raises(FqlSyntaxError) as caught:
        compile_filter(text)
    return caught.value


@pytest.mark.parametrize(
    ("text", "column", "hint"),
    [
        ("event == 'a'", 7, "FQL compares with ="),
        ("event === 'a'", 7, "FQL compares with ="),
        ("event <> 'a'", 7, "FQL compares with !="),
        ("event = 'a' && all", 13, "write and"),
        ("event = 'a' || all", 13, "write or"),
        ("event = 'a' AND all", 13, "write and, in lower case"),
        ("event = 'a' Or all", 13, "write or, in lower case"),
        ("event IN ['a']", 7, "write in, in lower case"),
        ("not (event = 'a')", 1, "write !(…)"),
        ("not event = 'a'", 1, "write !(…)"),
        ("event is null", 7, "write =, or = null for what is missing"),
        ("event like 'a%'", 7, "write match(field, 'pattern*')"),
        ("event contains 'a'", 7, "write contains(field, 'text')"),
        ("exists(event)", 1, "write field != null"),
        ('userId = oops"', 14, 'end the text with "'),
        ("event = 'it's'", 14, "end the text with '"),
        ("event = “a”", 9, "write ' or \""),
        ("event = Signed Up", 16, "is text meant? then write 'Signed Up'"),
        ("$.properties.plan = 'a'", 1, "write properties.plan"),
        ("properties.items[0].sku = 'a'", 17, "write properties.items.0"),
        ("properties.größe = 1", 14, r"in a name of a field write \ö"),
        ("properties.$a = 1", 12, r"in a name of a field write \$"),
        ("properties.a = 1; all", 17, r"text goes into quotes; in a name of a field write \ before it"),
        ("lowercas(event) = 'a'", 1, "did you mean lowercase?"),
        ("LowerCase(event) = 'a'", 1, "did you mean lowercase?"),
        ("lowercase() = 'a'", 1, "write lowercase(text)"),
        ("contains(event)", 1, "write contains(text, part)"),
        ("(event = 'a'", 1, "write ) at its end"),
        ("length(event", 7, "write ) at its end"),
        ("event in ['a'", 10, "write ] at its end"),
        ("event in ('a', 'b')", 10, "write in ['a', 'b']"),
        ("event = 'a' = 'b'", 13, "join two of them with and"),
        ("contains(event = 'a', 'b')", 16, "a comparison in here goes into parentheses"),
        ("properties.a = !all", 16, "put it and its value in parentheses"),
        ("properties.a + 1 > 2", 14, "FQL does not calculate"),
        ("event in {'a'}", 10, "a list is written ['a', 'b']"),
        ("semver(event, '>', 1.2.3)", 20, r"a version goes into quotes; a field of that name is written \1.2.3"),
        ("'a' in 'abc'", 8, "for a part of a text write contains(text, part)"),
        ("semver(event, '~', '1')", 15, "one of = != > >= < <=, in quotes"),
        ("", 1, "all matches every event"),
    ],
)  # fmt: skip
def test_a_common_mistake_is_told_what_to_write(text: str, column: int, hint: str) -> None:
    error = refused(text)
    assert (error.line, error.column, error.hint) == (1, column, hint)


@pytest.mark.parametrize(
    ("text", "column", "message"),
    [
        ("event = 'a' )", 13, "nothing is open that this ) closes"),
        ("event = ", 9, "the expression ends where a value is expected"),
        ("= 'a'", 1, "expected a value, found ="),
        ("event = 'a' 'b'", 13, "expected and, or, or the end, found 'b'"),
        ("properties..a = 1", 12, "a name is missing between two dots"),
        ("properties. = 1", 11, "a path ends with a name, not with a dot"),
        (".a = 1", 1, "a path starts with a name"),
        ("event = a\\", 10, "a backslash with nothing behind it"),
        ("contains(event 'a')", 16, "expected a comma or ), found 'a'"),
        ("contains(event, 'a',)", 21, "expected a value, found )"),
        (
            "match(event, '[]')",
            14,
            "the pattern is wrong: [] holds no character; a bracket itself is written \\[",
        ),
        ("match(event, '[z-a]')", 14, "the pattern is wrong: the range z-a is backwards"),
        ("match(event, 'a\\')", 14, "this ' is never closed"),
        ("match(event, 'a\\\\')", 14, "the pattern is wrong: a backslash with nothing behind it"),
        ("properties.a = 1e999", 16, "a number too large for a float"),
    ],
)
def test_a_mistake_is_told_with_its_place(text: str, column: int, message: str) -> None:
    error = refused(text)
    assert error.message == message
    assert (error.line, error.column) == (1, column)


def test_the_place_is_shown_under_the_line() -> None:
    error = refused("type = 'track'\n\tand event == 'a'\n")
    assert str(error) == "line 2, column 12: == is no operator here; FQL compares with ="
    assert error.caret() == " and event == 'a'\n           ^"


def test_a_long_line_is_shown_around_the_place() -> None:
    line, caret = refused("all or " * 300 + "event == 'a'" + " or all" * 300).caret(40).splitlines()
    assert len(line) == 40
    assert line[caret.index("^") :].startswith("==")


def test_an_expression_has_at_most_5_kb_and_so_many_levels() -> None:
    assert compile_filter("all" + " " * (5 * 1024 - 3)).test({})
    assert "5,120 bytes" in refused("all" + " " * (5 * 1024 - 2)).message
    assert compile_filter("(" * DEEPEST + "all" + ")" * DEEPEST).test({})
    for opening in ("(", "!", "[", "length(", "((!"):
        assert f"more than {DEEPEST} levels" in refused(opening * 600 + "all").message
    assert compile_filter(" and ".join(["all"] * 500)).test({})
    assert compile_filter("all" + " and (all)" * 300).test({})


FRAGMENTS = st.sampled_from(
    ["and", "or", "!", "in", "all", "true", "null", "=", "!=", ">", "<=", "(", ")", "[", "]", ",", "'", '"', "\\", ".",
     "event", "properties.a", "length(", "match(", "'a'", "3", "-1.5", "1e3", " ", "\n", "é", "$", "'[a'", "semver(",
     "'*a'", "contains(event,"]
)  # fmt: skip


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.text(max_size=60) | st.lists(FRAGMENTS, max_size=25).map(" ".join) | st.lists(FRAGMENTS).map("".join)
)
@example("\ud800")
@example("9" * 5000)
@example("x = 1" + "0" * 4999)
@example("1e" + "9" * 4000)
def test_no_text_raises_anything_else(text: str) -> None:
    for compiled in (parse, compile_filter, compile_value, compile_trigger):
        error = error_of(compiled, text)
        if error is not None:
            assert 1 <= error.column <= len(text) + 1
            assert error.caret().endswith("^")
            assert error.message


def error_of(compiled: Callable[[str], object], text: str) -> FqlSyntaxError | None:
    try:
        compiled(text)
    except FqlSyntaxError as error:
        return error
    return None
