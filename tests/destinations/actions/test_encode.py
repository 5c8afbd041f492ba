"""Bodies as vendors expect them."""

from __future__ import annotations

import json
import math
from typing import Any
from urllib.parse import parse_qsl

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cdpd.destinations.actions.encode import to_form, to_json


class Song(msgspec.Struct):
    title: str
    price: float | msgspec.UnsetType = msgspec.UNSET
    tags: list[float] = []


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (10.0, "10"),
        (-0.0, "0"),
        (1.5, "1.5"),
        (1e20, "100000000000000000000"),
        ({"a": 1e17, "b": [2e16]}, '{"a":100000000000000000,"b":[20000000000000000]}'),
        ([1e21, 1e-7, "1e17,", "2.0,"], '[1e21,1e-7,"1e17,","2.0,"]'),
        ({"a": 3.0, "b": {"c": 4.0}, "d": [5.0]}, '{"a":3,"b":{"c":4},"d":[5]}'),
        (math.nan, "null"),
        (math.inf, "null"),
        ({"a": [1.0, {"b": 2.0}], "c": None}, '{"a":[1,{"b":2}],"c":null}'),
        ("Ünïcode ✓", '"Ünïcode ✓"'),
        (Song("x", tags=[3.0]), '{"title":"x","tags":[3]}'),
        (Song("x", 2.0), '{"title":"x","price":2,"tags":[]}'),
    ],
)
def test_json_has_javascripts_numbers_and_no_unset_fields(value: Any, text: str) -> None:
    assert to_json(value).decode() == text


values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(values)
@settings(deadline=None)  # a busy machine is no fault
def test_json_means_what_it_was_made_of(value: Any) -> None:
    assert json.loads(to_json(value)) == value


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"a": "b c"}, "a=b+c"),
        ({"x~y": "*-._"}, "x%7Ey=*-._"),
        ({"data": '{"ü":1}'}, "data=%7B%22%C3%BC%22%3A1%7D"),
        ({}, ""),
    ],
)
def test_forms_escape_as_browsers_do(fields: dict[str, str], text: str) -> None:
    assert to_form(fields).decode() == text


@given(st.dictionaries(st.text(min_size=1), st.text(), max_size=5))
@settings(deadline=None)
def test_forms_come_back_as_they_were(fields: dict[str, str]) -> None:
    decodable = {k: v for k, v in fields.items() if (k + v).encode("utf-8", "ignore").decode() == k + v}
    assert dict(parse_qsl(to_form(decodable).decode(), keep_blank_values=True)) == decodable
