"""The difference of two JSON texts, as paths and as lines."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdpd.difference import changed_paths, difference, shown, whole

ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


def text(value: object) -> bytes:
    return json.dumps(value).encode()


@pytest.mark.parametrize(
    ("before", "after", "paths"),
    [
        ('{"a":1}', '{"a":1}', {}),
        ('{"a":1,"b":2}', '{ "b": 2, "a": 1 }', {}),
        ('{"a":"\\u00e9"}', '{"a":"é"}', {}),
        ('{"a":1}', '{"a":2}', {"a": "~"}),
        ('{"a":1.10}', '{"a":1.1}', {"a": "~"}),
        ('{"a":null}', "{}", {"a": "-"}),
        ("{}", '{"a":{"b":1}}', {"a": "+"}),
        ('{"a":{"b":1,"c":2}}', '{"a":{"b":2,"d":3}}', {"a.b": "~", "a.c": "-", "a.d": "+"}),
        ('{"a":[{"b":1},{"b":2}]}', '{"a":[{"b":1},{"b":3}]}', {"a[].b": "~"}),
        ('{"a":[1]}', '{"a":[1,2]}', {"a": "~"}),
        ('{"a":{}}', '{"a":[]}', {"a": "~"}),
        ('{"a":1}', '{"a":"1"}', {"a": "~"}),
        ('{"a.b":{"c d":1}}', '{"a.b":{"c d":2}}', {'"a.b"."c d"': "~"}),
        ('{"größe":1}', '{"größe":2}', {"größe": "~"}),
        ("1", "2", {"": "~"}),
    ],
)
def test_every_place_that_differs_has_a_path(before: str, after: str, paths: dict[str, str]) -> None:
    assert changed_paths(before.encode(), after.encode()) == paths


@given(ANYTHING, ANYTHING)
def test_paths_and_lines_agree_whether_anything_differs(before: object, after: object) -> None:
    paths, lines = changed_paths(text(before), text(after)), difference(text(before), text(after))
    assert (
        bool(paths)
        == bool(lines)
        == (json.dumps(before, sort_keys=True) != json.dumps(after, sort_keys=True))
    )
    assert {line.sign for line in lines} - {" "} <= {"+", "-"}
    other_way = changed_paths(text(after), text(before))
    swapped = {"+": "-", "-": "+", "~": "~"}
    assert other_way == {path: swapped[sign] for path, sign in paths.items()}


def test_only_the_changed_places_are_shown_with_what_they_are_in() -> None:
    before = {
        "id": 1,
        "context": {"ip": "1.2.3.4", "page": {"url": "/"}},
        "items": [1, 2, 3, {"n": 1, "m": 1}],
    }
    after = {
        "id": 1,
        "context": {"ip": "1.2.3.0", "page": {"url": "/"}},
        "items": [1, 2, 3, {"n": 2, "m": 1}],
    }
    assert list(shown(difference(text(before), text(after)), colour=False)) == [
        '  "context": {',
        '-   "ip": "1.2.3.4"',
        '+   "ip": "1.2.3.0"',
        "  }",
        '  "items": [',
        "    …",
        "    {",
        '-     "n": 1',
        '+     "n": 2',
        "    }",
        "  ]",
    ]


def test_elements_that_came_or_went_are_shown_alone() -> None:
    lines = shown(difference(b'{"a":[1,2,3,4]}', b'{"a":[1,3,4]}'), colour=False)
    assert list(lines) == ['  "a": [', "    …", "-   2", "    …", "  ]"]


def test_what_was_added_whole_is_cut_where_it_is_long() -> None:
    lines = list(shown(difference(b"{}", text({"a": list(range(40))})), colour=False))
    assert lines[:3] == ['+ "a": [', "+   0", "+   1"]
    assert lines[-1] == "+ … 30 more lines"


def test_lines_fit_the_width_and_a_strangers_text_cannot_steer_the_terminal() -> None:
    lines = list(shown(whole(text({"a": "\x9b31m" + "x" * 50})), colour=False, width=30, indent="    "))
    assert lines == ['      "a": "\\x9b31mxxxxxxxxxx…']
    (coloured,) = shown(difference(b"{}", b'{"a":1}'), colour=True)
    assert coloured == '\x1b[32m+ "a": 1\x1b[0m'


def test_only_some_of_the_changed_places_can_be_shown() -> None:
    before = {"context": {"ip": 1, "os": 1}, "items": [{"n": 1, "m": 1}], "last": 1}
    after = {"context": {"ip": 2, "os": 2}, "items": [{"n": 2, "m": 2}], "last": 2}
    lines = shown(difference(text(before), text(after), ["context.ip", "items[].m"]), colour=False)
    assert list(lines) == [
        '  "context": {',
        '-   "ip": 1',
        '+   "ip": 2',
        "  }",
        '  "items": [',
        "    {",
        '-     "m": 1',
        '+     "m": 2',
        "    }",
        "  ]",
    ]
    (line,) = difference(b"{}", text({"context": {"ip": 1}}), ["context.ip"])[:1]
    assert line.text == '"context": {'
