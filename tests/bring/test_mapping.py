"""Mappings of CSV columns: what they say, what is wrong with them, what cells become."""

from __future__ import annotations

from pathlib import Path

import pytest

from cdpd.bring.mapping import Columns, Kind, MappingError, converted, mapping_of

TRACK = ["type=track", "event=Paid"]


def by_path(columns: Columns | None) -> dict[str, tuple[str, str]]:
    assert columns is not None
    return {column.path: (column.column, column.kind) for column in columns.columns}


def test_options_say_where_columns_go_and_of_what_type_they_are() -> None:
    found = mapping_of(
        None, ["userId=customer", "properties.sum:number=the sum = x", "timestamp=at"], TRACK, ";"
    )
    assert by_path(found) == {
        "userId": ("customer", "string"),
        "properties.sum": ("the sum = x", "number"),
        "timestamp": ("at", "time"),
    }
    assert found is not None
    assert {path: bytes(value) for path, value in found.fixed.items()} == {
        "type": b'"track"',
        "event": b'"Paid"',
    }
    assert found.delimiter == ";"


def test_a_file_says_the_same_and_options_win(tmp_path: Path) -> None:
    file = tmp_path / "orders.toml"
    file.write_text(
        """
        type = "track"
        event = "Paid"
        delimiter = "|"
        [columns]
        userId = "customer"
        "properties.sum" = { column = "sum", type = "number" }
        [set]
        "properties.imported" = true
        """
    )
    found = mapping_of(file, ["userId=client"], ["event=Bought"], r"\t")
    assert by_path(found) == {"userId": ("client", "string"), "properties.sum": ("sum", "number")}
    assert found is not None
    assert bytes(found.fixed["event"]) == b'"Bought"'
    assert bytes(found.fixed["properties.imported"]) == b"true"
    assert found.delimiter == "\t"


def test_without_anything_there_is_no_mapping() -> None:
    assert mapping_of(None, [], [], None) is None


@pytest.mark.parametrize(
    ("columns", "fixed", "message"),
    [
        (["userId=u"], [], "what calls are the rows"),
        (["userId=u"], ["type=trak"], r'"track"'),
        (["userId=u"], ["type=track"], "needs its name"),
        ([], TRACK, "whose events"),
        (["user=u"], TRACK, "did you mean"),
        (["userId.x=u"], TRACK, "properties.plan"),
        (["userId=u", "properties..a=x"], TRACK, "properties.plan"),
        (["userId=u", "properties.a=x", "properties.a.b=y"], TRACK, "cannot be a value and have"),
        (["userId:text=u"], TRACK, "there is no type 'text'"),
        (["userId"], TRACK, "--column userId: write PATH"),
        (["userId=u"], [*TRACK, "properties.n:integer=x"], "--set properties.n:integer=x: 'x' is no integer"),
        (["userId=u"], [*TRACK, "messageId=1"], "one id for all rows"),
    ],
)
def test_a_mapping_of_which_no_event_could_come_is_refused(
    columns: list[str], fixed: list[str], message: str
) -> None:
    with pytest.raises(MappingError, match=message):
        mapping_of(None, columns, fixed, None)


@pytest.mark.parametrize(("text", "message"), [("x = ?", "at line 1"), ("colums = {}", "colums")])
def test_a_file_that_is_wrong_is_named(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "map.toml"
    with pytest.raises(MappingError, match=r"cannot read .*no such file"):
        mapping_of(file, [], [], None)
    file.write_text(text)
    with pytest.raises(MappingError, match=message):
        mapping_of(file, [], [], None)


@pytest.mark.parametrize(
    ("cell", "kind", "expected"),
    [
        (" a\x00 ", "string", '" a\ufffd "'),
        ("1.10", "number", "1.10"),
        (" -1e3 ", "number", "-1e3"),
        ("12345678901234567890123", "integer", "12345678901234567890123"),
        ("Yes", "boolean", "true"),
        ("0", "boolean", "false"),
        ('{"a": [1,\n 2]}', "json", '{"a":[1,2]}'),
        ("2024-03-01", "time", '"2024-03-01T00:00:00.000Z"'),
        ("2024-03-01 12:30:00+02:00", "time", '"2024-03-01T10:30:00.000Z"'),
        ("1709287200", "time", '"2024-03-01T10:00:00.000Z"'),
        ("1709287200123", "time", '"2024-03-01T10:00:00.123Z"'),
    ],
)
def test_a_cell_becomes_a_value(cell: str, kind: Kind, expected: str) -> None:
    found = converted(cell, kind)
    assert found is not None
    assert bytes(found).decode() == expected


@pytest.mark.parametrize("kind", ["string", "number", "integer", "boolean", "json", "time"])
def test_an_empty_cell_is_no_value(kind: Kind) -> None:
    assert converted("", kind) is None


@pytest.mark.parametrize(
    ("cell", "kind"),
    [
        ("1,5", "number"),
        ("NaN", "number"),
        ("1.0", "integer"),
        ("maybe", "boolean"),
        ("{", "json"),
        ("31.12.2024", "time"),
        ("٣", "number"),
    ],
)
def test_a_cell_of_another_type_is_refused(cell: str, kind: Kind) -> None:
    with pytest.raises(ValueError, match=r"is no|neither"):
        converted(cell, kind)
