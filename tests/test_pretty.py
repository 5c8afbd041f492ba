"""Lines of the log for people."""

from __future__ import annotations

from typing import Any

import pytest

from cdpd.pretty import Pretty


def line(colours: bool = False, **event: Any) -> str:
    return Pretty(colours=colours)(
        None, "info", {"timestamp": "13:57:53", "level": "info", "event": "said", **event}
    )


def test_it_is_when_how_grave_what_and_the_facts_whom_it_is_about_first() -> None:
    assert line(problem="it is away", level="warning", destination="crm") == (
        '13:57:53 warning said destination=crm problem="it is away"'
    )


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (["127.0.0.1:8080", "[::1]:8080"], '"127.0.0.1:8080, [::1]:8080"'),
        (["one"], "one"),
        ([], "none"),
        (True, "yes"),
        (None, "-"),
        (0.30000000000000004, "0.3"),
        (12345678, "12345678"),
        ("", '""'),
        ({"a": [1]}, '{"a":[1]}'),
        ("red\x1b[31m", r"red\x1b[31m"),
    ],
)
def test_values_are_shown_as_people_write_them(value: Any, shown: str) -> None:
    assert line(value=value) == f"13:57:53 info    said value={shown}"


def test_what_has_several_lines_stands_below() -> None:
    text = line(
        problems=["cdpd.toml:1:1: " + "x" * 60, "cdpd.toml:2:1: " + "y" * 60],
        exception="Traceback\n  at a\nKeyError",
    )
    assert text.splitlines() == [
        "13:57:53 info    said",
        "         problems:",
        "           cdpd.toml:1:1: " + "x" * 60,
        "           cdpd.toml:2:1: " + "y" * 60,
        "         Traceback",
        "           at a",
        "         KeyError",
    ]


def test_no_text_can_steer_the_terminal() -> None:
    text = line(event="a\x1b]0;title\x07b", problems="two\nlines\x1b[2J")
    assert "\x1b" not in text
    assert "\x07" not in text


def test_it_is_coloured_where_that_shows() -> None:
    assert "\x1b[33mwarning\x1b[0m" in line(True, level="warning")
    assert "\x1b" not in line(False, level="warning")
