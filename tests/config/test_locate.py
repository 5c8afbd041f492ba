"""Every located key and value is where it stands: whatever is cut out at a place parses to what is there."""

from __future__ import annotations

import datetime
import tomllib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdpd.config.locate import locate


def check_places(text: str) -> None:
    """Cut out every value and every key at its place, and parse it by itself with tomllib."""
    data = tomllib.loads(text)
    places = locate(text)
    expected_values, expected_keys = set(), set()

    def walk(value: Any, path: tuple[str | int, ...]) -> None:
        if path and isinstance(path[-1], str):
            expected_keys.add(path)
        if isinstance(value, dict):
            for key, item in value.items():
                walk(item, (*path, key))
        elif isinstance(value, list):
            for i, item in enumerate(value):
                walk(item, (*path, i))
        if not isinstance(value, dict | list):
            expected_values.add(path)

    walk(data, ())
    for path in expected_values:
        span = places.values[path]
        assert tomllib.loads("x = " + text[span.start : span.end])["x"] == at(data, path)
    for path, span in places.values.items():
        assert at(data, path) is not None
        cut = text[span.start : span.end]
        if cut[0] in "[{":
            assert tomllib.loads("x = " + cut)["x"] == at(data, path)
    assert set(places.keys) == expected_keys
    for path, span in places.keys.items():
        assert tomllib.loads(text[span.start : span.end] + " = 1") == {path[-1]: 1}


def at(data: Any, path: tuple[str | int, ...]) -> Any:
    for part in path:
        data = data[part]
    return data


KEY_TEXT = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=6)


def quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


@st.composite
def key(draw: st.DrawFn) -> tuple[str, str]:
    """(key, as written)"""
    if draw(st.booleans()):
        bare = draw(st.text("abcXYZ019_-", min_size=1, max_size=4))
        return bare, bare
    name = draw(KEY_TEXT)
    return name, f"'{name}'" if "'" not in name and draw(st.booleans()) else quoted(name)


SCALAR = st.one_of(
    st.integers(-(2**63), 2**63 - 1).map(str),
    st.floats(allow_nan=False).map(
        lambda x: str(x) if "inf" in str(x) or "." in str(x) or "e" in str(x) else f"{x}.0"
    ),
    st.sampled_from(
        ["true", "false", "0xFF_00", "+1_000", "1979-05-27", "07:32:00", "1979-05-27 07:32:00.5-07:00"]
    ),
    KEY_TEXT.map(quoted),
    KEY_TEXT.filter(lambda t: "'" not in t).map(lambda t: f"'{t}'"),
    st.sampled_from(
        [
            '"""\na = 1 # no\n[b]\n"""',
            '""""quoted""""',
            '"""\\""" ]"""',
            "'''\n''it's''''",
            '""',
            "''",
            '""""""',
            "'''''''",
        ]
    ),
)
BLANK = st.sampled_from(["", " ", "\t "])
BREAKS = st.sampled_from(["", " ", "\n", " # [x] \"}'\n  "])


@st.composite
def value(draw: st.DrawFn, depth: int = 2) -> str:
    kind = draw(st.sampled_from(["scalar", "scalar", "array", "inline"] if depth else ["scalar"]))
    if kind == "array":
        items = draw(st.lists(value(depth - 1), max_size=3))
        inner = "".join(draw(BREAKS) + item + draw(BREAKS) + "," for item in items)
        return f"[{inner if draw(st.booleans()) else inner[:-1]}{draw(BREAKS)}]"
    if kind == "inline":
        pairs = draw(
            st.lists(st.tuples(key(), value(depth - 1)), max_size=3, unique_by=lambda pair: pair[0][0])
        )
        return "{" + ",".join(f"{draw(BLANK)}{k[1]} = {v}{draw(BLANK)}" for k, v in pairs) + "}"
    return draw(SCALAR)


@st.composite
def document(draw: st.DrawFn) -> str:
    """Statements in any order; what does not go together is filtered out by the test."""
    lines = []
    for _ in range(draw(st.integers(0, 7))):
        name = (draw(BLANK) + "." + draw(BLANK)).join(
            k[1] for k in draw(st.lists(key(), min_size=1, max_size=3))
        )
        statement = draw(st.sampled_from(["pair", "pair", "table", "array"]))
        text = {
            "pair": f"{name}{draw(BLANK)}={draw(BLANK)}{draw(value())}",
            "table": f"[{name}]",
            "array": f"[[{name}]]",
        }
        comment = draw(st.sampled_from(["", " # 'x' = [", "\n"]))
        lines.append(draw(BLANK) + text[statement] + draw(BLANK) + comment)
    return "\n".join(lines)


@given(document())
def test_every_place_in_any_document_is_where_the_key_or_value_stands(text: str) -> None:
    try:
        tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return  # statements that contradict each other
    check_places(text)


@pytest.mark.parametrize(
    "text",
    [
        "a.b.c = 1\na.b.d = { x.y = [1, {z = 2}] }\n[q.'r s'.\"t\\u0041\"]\nk = 1",
        "[[a]]\nx = 1\n[a.b]\ny = 2\n[[a.b.c]]\nz = 3\n[[a.b.c]]\nz = 4\n[[a]]\nx = 5\n[[a.d]]\nw = 6",
        "[a.b]\n[a]\nx = 1 # after its child",
        'x = """\nöäü\n""" # [no]\ny = [ # one\n  1, # two ]\n  2,\n]\n',
        "",
        "# only a comment",
    ],
)
def test_the_forms_of_tables_and_arrays(text: str) -> None:
    check_places(text)


def test_lines_and_columns_count_characters_from_one() -> None:
    places = locate('a = 1\n"ä€" = "x"  # y\n')
    assert places.line_column(places.keys["ä€",].start) == (2, 1)
    assert places.line_column(places.values["ä€",].start) == (2, 8)


def test_a_path_that_is_not_there_is_placed_at_the_nearest_table_around_it() -> None:
    text = "[a.b]\nx = 1\n"
    places = locate(text)
    assert places.key(("a", "b", "missing", "deeper")) == places.keys["a", "b"]
    assert places.value(("nowhere",)) is None


def test_dates_and_times_keep_their_whole_text() -> None:
    text = "d = 1979-05-27 07:32:00 # c\n"
    span = locate(text).values["d",]
    assert tomllib.loads("d = " + text[span.start : span.end])["d"] == datetime.datetime(1979, 5, 27, 7, 32)
