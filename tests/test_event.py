"""The event: reading decodes and changes nothing, writing changes only the way down, the messageId is fixed."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from cdpd.event import BEGINNING, Event, Position
from cdpd.section import Items, Section, encode_value

LINE = (
    b'{"type":"track","messageId":"m","n":1.10,"big":12345678901234567890123,'
    b'"properties":{"a":{"x":[1.0,{"y":2.50}],"x2":null},"b":1e2},"userId":7}'
)


def test_reading_keeps_the_text() -> None:
    event = Event(LINE)
    assert event.type == "track"
    assert event.message_id == "m"
    assert event.user_id is None, "a number is no string"
    assert event.properties["a"]["x"][1]["y"] == 2.5
    assert event["big"] == 12345678901234567890123
    assert event.context == {}
    assert event.line() == LINE


def test_writing_keeps_the_text_of_everything_else() -> None:
    event = Event(LINE)
    event.properties["a"]["x"][1]["z"] = True
    assert event.line() == LINE.replace(b'{"y":2.50}', b'{"y":2.50,"z":true}')
    event.context["ip"] = "1.2.3.4"
    assert event.line().endswith(b',"userId":7,"context":{"ip":"1.2.3.4"}}')


def test_a_list_is_written_element_by_element() -> None:
    event = Event(b'{"l":[1.0,{"a":2.0}, 3]}')
    items = event["l"]
    assert isinstance(items, Items)
    assert items == [1.0, {"a": 2.0}, 3]
    items.append({"b": [items[1]]})
    del items[0]
    items[1:2] = ["x", None]
    assert event.line() == b'{"l":[{"a":2.0},"x",null,{"b":[{"a":2.0}]}]}'


def test_assigned_values_are_copies() -> None:
    event = Event(b'{"a":{"x":1}}')
    event["b"] = event["a"]
    event["a"]["x"] = 2
    assert event.plain() == {"a": {"x": 2}, "b": {"x": 1}}


def test_raw_fields_are_the_callers_own_and_come_back_whole() -> None:
    event = Event(LINE)
    event.properties["b"] = 3
    fields = event.raw_fields()
    assert list(fields) == list(event)
    fields["n"] = Raw(b"2")
    del fields["big"]
    assert event["n"] == 1.10
    event.put_raw_fields(fields)
    assert event.line() == (
        b'{"type":"track","messageId":"m","n":2,'
        b'"properties":{"a":{"x":[1.0,{"y":2.50}],"x2":null},"b":3},"userId":7}'
    )


def test_a_section_changed_after_its_parent_was_encoded_is_encoded_again() -> None:
    event = Event(LINE)
    properties = event.properties
    properties["b"] = 1
    assert b'"b":1}' in event.line()
    properties["b"] = 2
    assert b'"b":2}' in event.line()


@pytest.mark.parametrize(
    "change",
    [
        lambda event: event.__setitem__("messageId", "x"),
        lambda event: event.__delitem__("messageId"),
        lambda event: event.pop("messageId"),
        lambda event: event.put_raw("messageId", Raw(b'"x"')),
        lambda event: event.put_raw_fields({"messageId": Raw(b'"x"')}),
        lambda event: event.put_raw_fields({}),
        lambda event: event.section("messageId").__setitem__("x", 1),
        lambda event: event.clear(),
    ],
)
def test_the_messageId_is_fixed(change: Any) -> None:
    event = Event(b'{"messageId":"m"}')
    with pytest.raises(ValueError, match="messageId is given at ingest"):
        change(event)
    assert event.message_id == "m"


def test_names_can_be_set_and_taken_away() -> None:
    event = Event(b"{}")
    event.type, event.event, event.user_id, event.anonymous_id = "track", "A", "u", "a"
    assert event.plain() == {"type": "track", "event": "A", "userId": "u", "anonymousId": "a"}
    event.user_id = None
    event.user_id = None
    assert "userId" not in event


def test_options_are_an_empty_section_of_its_own_until_set() -> None:
    one, other = Event(b"{}"), Event(b"{}")
    one.options["k"] = 1
    assert other.options == {}
    other.options = Section(b'{"k":2}')
    assert (one.options["k"], other.options["k"]) == (1, 2)


def test_numbers_beyond_python_read_as_infinity() -> None:
    event = Event(b'{"a":1e999,"b":-1e999,"c":' + b"9" * 5000 + b"}")
    assert (event["a"], event["b"], event["c"]) == (float("inf"), float("-inf"), float("inf"))


def test_what_json_cannot_say_is_refused() -> None:
    with pytest.raises(TypeError, match="object cannot stand in an event"):
        Event(b"{}")["a"] = object()
    with pytest.raises(TypeError, match="a key must be a string"):
        Event(b"{}")[7] = 1  # type: ignore[index]  # that is what is tried
    assert bytes(encode_value(float("nan"))) == b"null"


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)


@given(st.dictionaries(st.text(max_size=4), json_values, max_size=4), st.text(max_size=4), json_values)
def test_a_section_is_a_dict(start: dict[str, Any], key: str, value: Any) -> None:
    section = Section(msgspec.json.encode(start))
    assert section == dict(section.items())
    section[key] = value
    start[key] = value
    assert section.plain() == msgspec.json.decode(msgspec.json.encode(start))
    assert list(section) == list(start)
    del section[key]
    assert key not in section


def test_positions_are_ordered_and_written_as_text() -> None:
    position = Position(offset=5, epoch=255)
    assert str(position) == "00000000000000ff.5"
    assert Position.parse(str(position)) == position
    assert position > BEGINNING
    for text in ("5", "ff.5", "00000000000000ff.-5", "00000000000000ff.x"):
        with pytest.raises(ValueError, match="not a position"):
            Position.parse(text)
