"""Names with any character can be written in a path, and come back as they were."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from cdpd.mapping.fql.filter import compile_value
from cdpd.mapping.fql.parser import parse
from cdpd.mapping.fql.paths import path_text
from cdpd.mapping.fql.syntax import Path

NAMES = st.text(min_size=1, max_size=6) | st.sampled_from(
    [
        "and",
        "or",
        "in",
        "all",
        "null",
        "true",
        "1",
        "-1",
        "1.5",
        "a.b",
        "\\",
        "product 1",
        "é",
        "'",
        "\n",
        "$",
        "01",
    ]
)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(NAMES, min_size=1, max_size=4))
@example(["1", "5"])
@example(["1e3"])
@example(["not"])
@example(["lowercase"])
def test_a_written_path_is_read_as_the_same_names(names: list[str]) -> None:
    text = path_text(names)
    assert parse(text) == Path(tuple(names))
    event: Any = 7
    for name in reversed(names):
        event = {name: event}
    assert compile_value(text).value(event) == 7


@pytest.mark.parametrize("names", [[], [""], ["a", ""]])
def test_an_empty_name_cannot_be_written(names: list[str]) -> None:
    with pytest.raises(ValueError, match="none of its names is empty"):
        path_text(names)
