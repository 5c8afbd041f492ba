"""Rows of CSV → events."""

from __future__ import annotations

import json
from typing import Any

import pytest

from cdpd.bring.event import BadLine, Brought, Treatment
from cdpd.bring.mapping import mapping_of
from cdpd.bring.table import Table
from cdpd.bring.unpack import Unreadable

COLUMNS = ["userId=customer", "properties.total:number=total", "timestamp=at"]
FIXED = ["type=track", "event=Order Completed", "properties.imported:boolean=true"]


def read(
    text: str, columns: list[str] = COLUMNS, source: str = "shop", delimiter: str | None = None
) -> list[Brought | BadLine]:
    mapping = mapping_of(None, columns, FIXED, delimiter)
    assert mapping is not None
    return list(Table(iter(text.splitlines(keepends=True)), mapping, Treatment(source)).rows())


def events(text: str, **options: Any) -> list[dict[str, Any]]:
    found = read(text, **options)
    return [json.loads(row.item.text) for row in found if isinstance(row, Brought)]


def test_a_row_is_an_event_that_keeps_its_time() -> None:
    (found,) = events("customer,total,at,other\nc1,10.50,2024-03-01T10:00:00Z,x\n")
    assert found.pop("messageId").startswith("import-")
    assert found == {
        "type": "track",
        "event": "Order Completed",
        "userId": "c1",
        "properties": {"imported": True, "total": 10.5},
        "timestamp": "2024-03-01T10:00:00.000Z",
        "originalTimestamp": "2024-03-01T10:00:00.000Z",
        "integrations": {"All": False},
    }


def test_an_empty_cell_is_absent() -> None:
    (found,) = events("customer,total,at\nc1,,\n")
    assert found["properties"] == {"imported": True}
    assert "timestamp" not in found


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_the_header_tells_what_stands_between_cells(delimiter: str) -> None:
    text = "\ufeffcustomer,total,at\nc1,1,\n".replace(",", delimiter)
    assert events(text)[0]["userId"] == "c1"
    assert events("customer,x;total;at\nc1;1;\n", columns=["userId=customer,x"], delimiter=";")


def test_a_cell_may_hold_lines_and_quotes() -> None:
    (found,) = events('customer,total,at\n"a ""b""\nc",1,\n')
    assert found["userId"] == 'a "b"\nc'


def test_a_row_gets_the_same_id_in_each_file_and_another_one_in_each_source() -> None:
    header = "customer,total,at\n"
    (first, second) = events(header + "c1,1,\nc2,1,\n")
    assert first["messageId"] != second["messageId"]
    assert events(header + "c2,1,\n")[0]["messageId"] == second["messageId"]
    assert events(header + "c2,1,\n", source="app")[0]["messageId"] != second["messageId"]


def test_an_id_may_come_from_a_column() -> None:
    columns = ["userId=customer", "messageId:integer=total"]
    found = events("customer,total,at\nc1,17,\nc1,,\n", columns=columns)
    assert found[0]["messageId"] == "17"
    assert found[1]["messageId"].startswith("import-")


def test_a_receipt_may_come_from_a_column() -> None:
    (found,) = read("customer,total,at\nc1,1,2024-03-01\n", ["userId=customer", "receivedAt=at"])
    assert isinstance(found, Brought)
    assert found.item.known.received_at == "2024-03-01T00:00:00.000Z"
    assert "receivedAt" not in json.loads(found.item.text)


def test_bad_rows_cost_only_themselves() -> None:
    found = read("customer,total,at\nc1,x,\nc2,1\nc\udcff3,1,\nc4,1,\n")
    assert [row.message for row in found if isinstance(row, BadLine)] == [
        "column total: 'x' is no number",
        "2 cells, where the first line has 3",
        "column customer: not UTF-8 (try `iconv -f latin1 -t utf8`)",
    ]
    assert isinstance(found[-1], Brought)


def test_a_column_that_is_not_there_is_told_with_what_is() -> None:
    with pytest.raises(Unreadable, match="no column 'customer'; did you mean \"costumer\""):
        read("costumer,total,at\n")
    with pytest.raises(Unreadable, match="its first line has: a, b"):
        read("a,b\n")
