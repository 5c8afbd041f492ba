"""One file: what it is, going on in it, and what has changed in it since."""

from __future__ import annotations

import gzip
import json
from typing import Any

import pytest

from cdpd.bring.event import BadLine, Brought, Treatment
from cdpd.bring.mapping import mapping_of
from cdpd.bring.reading import Changed, Format, Mark, Reading
from cdpd.bring.unpack import Unreadable

COLUMNS = mapping_of(None, ["userId=customer"], ["type=identify"], None)
TREATMENT = Treatment("website")


def line(number: int) -> bytes:
    return b'{"type":"track","messageId":"m%d"}\n' % number


NDJSON = b"".join(map(line, range(30)))
CSV = b"customer\n" + b"".join(b'"c\n%d"\n' % i for i in range(30))


def reading(data: bytes, form: Format = "auto", name: str = "file", with_columns: bool = True) -> Reading:
    return Reading([data], form, COLUMNS if with_columns else None, TREATMENT, name)


def found(reading: Reading, after: Mark | None = None) -> list[dict[str, Any]]:
    return [
        json.loads(event.item.text)
        for unit in reading.units(after)
        for event in unit
        if isinstance(event, Brought)
    ]


def mark_after(data: bytes, units: int) -> Mark:
    """Where a run that took so many units was."""
    file = reading(data)
    each = file.units()
    for _ in range(units):
        next(each)
    return file.mark


def test_json_lines_and_csv_are_told_apart_by_their_content() -> None:
    assert found(reading(NDJSON))[0]["messageId"] == "m0"
    assert found(reading(CSV))[0]["userId"] == "c\n0"
    assert found(reading(b"\n\n" + NDJSON, name="x.csv"))


@pytest.mark.parametrize("data", [NDJSON, CSV], ids=["ndjson", "csv"])
@pytest.mark.parametrize("units", [0, 1, 9, 12, 29, 30])
def test_a_file_is_gone_on_with_after_what_was_read(data: bytes, units: int) -> None:
    everything = found(reading(data))
    assert len(everything) == 30
    assert found(reading(data), mark_after(data, units)) == everything[units:]


def test_what_was_added_to_a_file_is_all_that_is_read_of_it() -> None:
    mark = mark_after(NDJSON, 30)
    assert [event["messageId"] for event in found(reading(NDJSON + line(30)), mark)] == ["m30"]


@pytest.mark.parametrize(
    "data", [NDJSON.replace(b"m3", b"x3"), NDJSON[: len(line(0)) * 5], b""], ids=["other", "shorter", "empty"]
)
def test_a_file_whose_beginning_changed_is_noticed_before_anything_of_it_is_given(data: bytes) -> None:
    with pytest.raises(Changed):
        found(reading(data), mark_after(NDJSON, 10))


def test_a_file_that_breaks_off_gives_what_came_before_and_knows_how_far_that_is() -> None:
    stored = gzip.compress(NDJSON, 0)
    file = reading(stored[:200])
    events: list[object] = []
    with pytest.raises(Unreadable, match="not whole"):
        events.extend(event for unit in file.units() for event in unit)
    assert 0 < len(events) < 10
    assert found(reading(gzip.compress(NDJSON)), file.settled) == found(reading(NDJSON))[len(events) :]


def test_a_row_that_breaks_off_is_not_counted_as_read() -> None:
    stored = gzip.compress(CSV, 0)
    for cut in range(60, 150):
        file = reading(stored[:cut])
        events: list[object] = []
        with pytest.raises(Unreadable):
            events.extend(event for unit in file.units() for event in unit)
        assert found(reading(CSV), file.settled) == found(reading(CSV))[len(events) :]


@pytest.mark.parametrize(
    ("data", "name", "message"),
    [
        (b"a,b\n1,2\n", "orders.csv.gz", r"a CSV file needs a mapping: --set type"),
        (b"hello\n", "notes", "no JSON objects; if it is CSV"),
        (b'[{"type":"track"}]\n', "x.json", "jq -c"),
    ],
)
def test_a_file_of_another_kind_is_told_with_a_way_out(data: bytes, name: str, message: str) -> None:
    with pytest.raises(Unreadable, match=message):
        found(reading(data, name=name, with_columns=False))


def test_a_line_of_endless_length_is_one_bad_line() -> None:
    file = reading(b'{"a":"' + b"x" * 9_000_000 + b'"}\n' + line(1))
    units = list(file.units())
    assert isinstance(units[0][0], BadLine)
    assert "longer than 8 MiB" in units[0][0].message
    assert isinstance(units[1][0], Brought)
