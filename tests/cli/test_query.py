"""`cdpd query`: what it prints, and how it tells mistakes. The tables themselves: tests/archive."""

from __future__ import annotations

import csv
import io
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.stored import event, received, store, store_all

from .conftest import Cdpd, in_a_process


def test_the_answer_is_a_table(cdpd: Cdpd, tmp_path: Path) -> None:
    store(tmp_path, "events", [event(1), event(2), event(3, event="Order Completed", userId=None)])
    ran = cdpd(
        "query", "select event, count(*) as n from events group by 1 order by 2", "--data-dir", tmp_path
    )
    assert (ran.code, ran.err) == (0, "")
    assert ran.lines == [
        "event            n",
        "---------------  -",
        "Order Completed  1",
        "Signed Up        2",
    ]


def test_nothing_missing_and_nothing_strange_looks_like_something_else(cdpd: Cdpd, tmp_path: Path) -> None:
    store(tmp_path, "events", [event(1, userId=None, event="", name="a\x1b[31m\nb")])
    sql = (
        "select user_id, event, name, true as b, [1, 2] as l, timestamp, 1.50::decimal(5,2) as d from events"
    )
    ran = cdpd("query", sql, "--data-dir", tmp_path)
    assert ran.lines == [
        "user_id  event  name          b     l      timestamp                   d",
        "-------  -----  ------------  ----  -----  -----------------------  ----",
        "NULL            a\\x1b[31m\\nb  true  [1,2]  2026-01-31 12:00:00.123  1.50",
    ]


def test_without_a_row_the_table_is_its_header(cdpd: Cdpd, tmp_path: Path) -> None:
    store(tmp_path, "events", [])
    assert cdpd("query", "select type from events", "--data-dir", tmp_path).lines == ["type", "----"]
    assert cdpd("query", "select type from events", "--json", "--data-dir", tmp_path).out == ""


def test_json_is_an_object_a_row_with_json_columns_as_json(cdpd: Cdpd, tmp_path: Path) -> None:
    store(tmp_path, "events", [event(1), event(2, properties=None)])
    sql = "select message_id, timestamp, properties, traits from events"
    assert cdpd("query", sql, "--json", "--data-dir", tmp_path).objects == [
        {
            "message_id": "m1",
            "timestamp": "2026-01-31T12:00:00.123Z",
            "properties": {"plan": "pro", "seats": 1},
            "traits": None,
        },
        {"message_id": "m2", "timestamp": "2026-01-31T12:00:00.123Z", "properties": None, "traits": None},
    ]


def test_every_type_of_value_has_a_form_in_json(cdpd: Cdpd, tmp_path: Path) -> None:
    store(tmp_path, "events", [])
    sql = (
        "select 170141183460469231731687303715884105727::hugeint h, 1.50::decimal(5,2) d, 'nan'::double n, true b, "
        "{'a': [1, null]} s, map {1: 'x'} m, date '2026-01-31' da, timestamptz '2026-01-31 12:00:00+02' tz, "
        "interval 90 minute i, 'ab'::blob bl, 1 as x, 2 as x, '0b0e8a4e-0000-4000-8000-000000000000'::uuid u, "
        "timestamp '2026-01-31 12:00:00.000001' us, time '10:00' ti"
    )
    ran = cdpd("query", sql, "--json", "--data-dir", tmp_path)
    assert ran.out == (
        '{"h":170141183460469231731687303715884105727,"d":1.50,"n":null,"b":true,"s":{"a":[1,null]},"m":{"1":"x"},'
        '"da":"2026-01-31","tz":"2026-01-31T10:00:00.000Z","i":"1:30:00","bl":"6162","x":1,"x_2":2,'
        '"u":"0b0e8a4e-0000-4000-8000-000000000000","us":"2026-01-31T12:00:00.000001Z","ti":"10:00:00"}\n'
    )


def test_csv_can_be_read_back(cdpd: Cdpd, tmp_path: Path) -> None:
    store(tmp_path, "events", [event(1, event='a "b",\nc', userId=None)])
    ran = cdpd("query", "select event, user_id, properties from events", "--csv", "--data-dir", tmp_path)
    assert list(csv.reader(io.StringIO(ran.out))) == [
        ["event", "user_id", "properties"],
        ['a "b",\nc', "", '{"plan":"pro","seats":1}'],
    ]


def test_rows_past_those_that_set_the_widths_are_printed_too(cdpd: Cdpd, tmp_path: Path) -> None:
    store(tmp_path, "events", [])
    ran = cdpd("query", "select i from range(99990, 101500) r(i)", "--data-dir", tmp_path)
    assert len(ran.lines) == 2 + 1510
    assert ran.lines[-1] == "101499"


def test_sql_can_come_from_a_pipe(tmp_path: Path) -> None:
    store(tmp_path, "received", [received(1)])
    ran = in_a_process(
        "query", "-", "--csv", "--data-dir", tmp_path, stdin=b"select count(*) as n\nfrom received;\n"
    )
    assert (ran.code, ran.out) == (0, "n\n1\n")


@pytest.mark.parametrize(
    ("sql", "said"),
    [
        ("selec 1", 'syntax error at or near "selec"'),
        ("select userId from events", '"user_id"'),
        ("select * from event", "events"),
        ("select 'x'::int from events", "Could not convert"),
        (
            "select * from read_csv('/etc/passwd')",
            "Only the tables events, received, discarded, sets, objects can be read",
        ),
        ("", "no SQL was given"),
    ],
)
def test_wrong_sql_is_told_and_exits_2(cdpd: Cdpd, tmp_path: Path, sql: str, said: str) -> None:
    store_all(tmp_path)
    ran = cdpd("query", sql, "--data-dir", tmp_path)
    assert ran.code == 2
    assert ran.err.startswith("cdpd: ")
    assert said in ran.err
    assert "Traceback" not in ran.err
    assert "/proc/" not in ran.err


@pytest.mark.parametrize(
    "sql",
    [
        "select count(*) from range(100000000000) r(i) where i % 7 = 3",
        "select i from range(100000000000) r(i)",
    ],
)
def test_ctrl_c_ends_a_query_at_once_and_in_silence(tmp_path: Path, sql: str) -> None:
    store(tmp_path, "events", [])
    began = tmp_path / "began"
    script = (
        "import sys, pathlib, cdpd.cli, cdpd.archive.database as d\n"
        "ask = d.Archive.ask\n"
        "d.Archive.ask = lambda *a: (pathlib.Path(sys.argv.pop()).touch(), ask(*a))[1]\n"
        "sys.exit(cdpd.cli.main(sys.argv[1:-1]))"
    )
    program = [sys.executable, "-c", script, "query", sql, "--data-dir", str(tmp_path), str(began)]
    with subprocess.Popen(program, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        while not began.exists() and process.poll() is None:
            pass
        process.send_signal(signal.SIGINT)
        try:
            _, err = process.communicate(timeout=30)
        finally:
            process.kill()
        assert (err, process.returncode) == (b"", 130)


def test_two_formats_at_once_are_a_mistake(cdpd: Cdpd, tmp_path: Path) -> None:
    ran = cdpd("query", "select 1", "--json", "--csv", "--data-dir", tmp_path)
    assert (ran.code, ran.err) == (2, "cdpd: either --json or --csv, not both\n")


def test_damage_is_told_and_exits_1(cdpd: Cdpd, tmp_path: Path) -> None:
    folder = store(tmp_path, "events", [event(1)])
    (path,) = folder.glob("*.zst")
    path.write_bytes(path.read_bytes()[:-1])
    ran = cdpd("query", "select count(*) from events", "--data-dir", tmp_path)
    assert (ran.code, ran.out) == (1, "")
    assert ran.err.startswith(f"cdpd: damaged log: {path}, byte ")
    assert "cdpd log verify events" in ran.err


def test_a_folder_without_streams_is_told_and_exits_1(cdpd: Cdpd, tmp_path: Path) -> None:
    ran = cdpd("query", "select count(*) from events", "--data-dir", tmp_path)
    assert (ran.code, ran.out) == (1, "")
    assert "nothing is stored in" in ran.err


def test_the_help_names_every_column(cdpd: Cdpd) -> None:
    words = set(cdpd("query", "--help").out.replace(",", " ").replace(".", " ").split())
    assert {"message_id", "source", "properties", "context", "traits", "discarded_by", "payload"} <= words
