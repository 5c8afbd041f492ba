"""The archive as SQL tables: over real streams, also while they are written, cut and removed."""

from __future__ import annotations

import datetime
import json
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest

from cdpd.archive import columns, snapshot
from cdpd.archive.database import NothingStored, QueryError, StoredLineError, mentioned, open_archive
from cdpd.config.data_folder import stream_folder
from cdpd.log.errors import Damage, LogError
from cdpd.log.files import OsFiles
from cdpd.log.frame import Codec, Header, crc32c, encode_header
from cdpd.log.mark import NAME, Mark
from cdpd.log.segment import segment_bases, segment_path
from cdpd.log.stream import StreamOptions, open_stream
from tests.clock import FakeClock
from tests.stored import AT_MS, discarded, encoded, event, received, store

MOMENT = datetime.datetime(2026, 1, 31, 12, 0)


def ask(data: Path, sql: str) -> list[tuple[Any, ...]]:
    with open_archive(data, mentioned(sql)) as archive:
        return list(archive.ask(sql).rows)


def row(data: Path, sql: str) -> dict[str, Any]:
    """The one row that the query gives, by column."""
    with open_archive(data, mentioned(sql)) as archive:
        table = archive.ask(sql)
        (values,) = table.rows
        return dict(zip(table.columns, values, strict=True))


def segments(folder: Path) -> list[Path]:
    return [segment_path(folder, base) for base in segment_bases(OsFiles(), folder)]


def flip(path: Path, at: int) -> None:
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    path.write_bytes(content)


# -- the columns ---------------------------------------------------------------------------------------


def test_an_event_has_its_fields_as_columns_times_as_timestamps_and_sections_as_json(tmp_path: Path) -> None:
    store(tmp_path, "events", [event(1, sentAt="2026-01-31T14:00:00+02:00", integrations={"All": False})])
    assert row(tmp_path, "select * from events") == {
        "message_id": "m1",
        "source": "website",
        "type": "track",
        "event": "Signed Up",
        "name": None,
        "category": None,
        "user_id": "u1",
        "anonymous_id": None,
        "group_id": None,
        "previous_id": None,
        "timestamp": MOMENT.replace(microsecond=123000),
        "received_at": MOMENT.replace(second=1),
        "sent_at": MOMENT,
        "original_timestamp": None,
        "properties": '{"plan":"pro","seats":1}',
        "traits": None,
        "context": '{"ip":"203.0.113.9"}',
        "integrations": '{"All":false}',
        "channel": None,
    }


def test_a_received_line_shows_the_request_and_the_event_as_it_was_sent(tmp_path: Path) -> None:
    store(tmp_path, "received", [received(1, sentAt=17, retryOf=5)])
    found = row(tmp_path, "select * from received")
    assert json.loads(found.pop("payload"))["event"] == "Signed Up"
    assert found == {
        "message_id": "m1",
        "source": "website",
        "received_at": MOMENT.replace(second=1),
        "sent_at": "17",
        "path": "/v1/batch",
        "ip": "203.0.113.9",
        "user_agent": "curl/8",
        "origin": None,
        "retry": None,
        "retry_of": 5,
        "reject": None,
        "type": "track",
        "event": "Signed Up",
        "name": None,
        "user_id": "u1",
        "anonymous_id": None,
        "properties": '{"plan":"pro"}',
        "traits": None,
        "context": None,
        "raw": None,
    }


def test_a_discarded_line_shows_the_reason_and_the_event(tmp_path: Path) -> None:
    store(tmp_path, "discarded", [discarded(7, traceback="Traceback …")])
    found = row(tmp_path, "select * exclude (payload, properties, traits, context) from discarded")
    assert found == {
        "discarded_at": MOMENT.replace(second=2),
        "discarded_by": "spec",
        "code": "unknown_type",
        "message": 'there is no call "trak"',
        "traceback": "Traceback …",
        "received": 7,
        "message_id": "m7",
        "source": "website",
        "received_at": MOMENT.replace(second=1),
        "type": "track",
        "event": "Signed Up",
        "name": None,
        "user_id": "u7",
        "anonymous_id": None,
    }


def test_every_column_has_the_type_that_is_stated(tmp_path: Path) -> None:
    for name, made in (("events", event), ("received", received), ("discarded", discarded)):
        store(tmp_path, name, [made(1)])
    for name, view in columns.VIEWS.items():
        described = ask(tmp_path, f"select column_name, column_type from (describe {name})")
        assert dict(described) == {column.name: column.type for column in view.columns}


def test_values_of_other_types_than_expected_are_shown_or_null_and_fail_nothing(tmp_path: Path) -> None:
    odd = [
        {"userId": 7, "properties": "text", "timestamp": {"a": 1}, "context": None},
        {"type": ["track"], "USERID": "other", "properties": {"n": 10**400, "deep": "[" * 60}},
        b'{"userId":"a\\ud83d\\ude00b","properties":{"x":1e999,"x":1.10},"timestamp":"yesterday"}',
    ]
    store(tmp_path, "events", odd)
    store(
        tmp_path,
        "received",
        [received(1, event="no object", sentAt={"a": 1}, via=None, raw='{"cut', reject="x")],
    )
    assert ask(tmp_path, "select user_id, type, timestamp, properties->>'$.n' from events") == [
        ("7", None, None, None),
        (None, '["track"]', None, str(10**400)),
        ("a😀b", None, None, None),
    ]
    assert ask(tmp_path, "select sent_at, path, raw, type, payload from received") == [
        ('{"a":1}', None, '{"cut', None, '"no object"')
    ]


def test_the_reference_of_the_columns_is_current() -> None:
    assert Path(columns.__file__).with_name("README.md").read_text() == columns.reference()


# -- what is seen --------------------------------------------------------------------------------------


def test_a_query_sees_sealed_segments_and_the_last_one(tmp_path: Path) -> None:
    folder = store(tmp_path, "events", map(event, range(10)), a_segment=3)
    assert len(segments(folder)) > 3
    assert ask(tmp_path, "select count(*), count(distinct message_id) from events") == [(10, 10)]


async def test_a_query_sees_all_that_is_durable_of_a_stream_that_is_being_written(tmp_path: Path) -> None:
    folder = stream_folder(tmp_path, "events")
    async with open_stream(
        folder, clock=FakeClock(), options=StreamOptions(), report=lambda _: None
    ) as stream:
        for number in range(1, 4):
            await stream.append(encoded([event(number)]), config_id=1)
            (count,) = await anyio.to_thread.run_sync(ask, tmp_path, "select count(*) from events")
            assert count == (number,)


async def test_lines_past_the_durable_mark_are_not_seen(tmp_path: Path) -> None:
    folder = stream_folder(tmp_path, "discarded")
    async with open_stream(
        folder, clock=FakeClock(), options=StreamOptions(), report=lambda _: None
    ) as stream:
        await stream.append(encoded([discarded(1)]), config_id=1)
        await stream.append(encoded([discarded(2)]), config_id=1, publish=False)
        found = await anyio.to_thread.run_sync(ask, tmp_path, "select received from discarded")
        assert found == [(1,)]
        stream.publish()
        found = await anyio.to_thread.run_sync(ask, tmp_path, "select received from discarded")
        assert found == [(1,), (2,)]


def test_bytes_that_a_crash_left_behind_are_not_seen(tmp_path: Path) -> None:
    folder = store(tmp_path, "events", map(event, range(5)), a_segment=2)
    first, *_, last = segments(folder)
    whole = last.read_bytes()
    for path in (first, last):
        with path.open("ab") as file:
            file.write(whole[: len(whole) // 2])
    assert ask(tmp_path, "select count(*) from events") == [(5,)]


def test_segments_that_retention_removes_meanwhile_are_still_read(tmp_path: Path) -> None:
    folder = store(tmp_path, "events", map(event, range(10)), a_segment=2)
    with open_archive(tmp_path, ["events"]) as archive:
        for path in segments(folder):
            path.unlink()
        assert list(archive.ask("select count(*) from events").rows) == [(10,)]


def test_segments_past_the_room_for_open_files_are_read_by_their_paths(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store(tmp_path / "it's", "events", map(event, range(10)), a_segment=2)
    monkeypatch.setattr(snapshot, "_room", lambda: 2)
    assert ask(tmp_path / "it's", "select count(*) from events") == [(10,)]


def test_retention_that_is_faster_than_the_snapshot_only_shortens_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = store(tmp_path, "events", map(event, range(10)), a_segment=2)
    first = segments(folder)[0]
    listed = segment_bases(OsFiles(), folder)
    first.unlink()
    answers = iter([listed])
    monkeypatch.setattr(snapshot, "segment_bases", lambda *_: next(answers, listed[1:]))
    assert ask(tmp_path, "select count(*) from events") == [(10 - listed[1],)]


def test_an_archive_of_ten_thousand_segments_is_read(tmp_path: Path) -> None:
    folder = stream_folder(tmp_path, "events")
    folder.mkdir(parents=True)
    body = Codec().compress(encoded([event(1)])[0] + b"\n")
    for base in range(10_000):
        header = Header(base, 1, len(body), 1 << 10, crc32c(body), AT_MS, AT_MS, 1, 1)
        segment_path(folder, base).write_bytes(encode_header(header) + body)
    size = segment_path(folder, 9_999).stat().st_size
    head = int.from_bytes(encode_header(header)[-4:], "little")
    (folder / NAME).write_bytes(Mark(bytes(16), 1, 10_000, 9_999, size, 0, AT_MS, head).encode())
    assert ask(tmp_path, "select count(*) from events") == [(10_000,)]


def test_a_line_longer_than_duckdb_reads_by_itself_is_read(tmp_path: Path) -> None:
    store(tmp_path, "events", [event(1, properties={"text": "x" * (17 << 20)})])
    assert ask(tmp_path, "select length(properties->>'$.text') from events") == [(17 << 20,)]


def test_streams_without_a_line_are_tables_without_a_row(tmp_path: Path) -> None:
    for name in columns.VIEWS:
        store(tmp_path, name, [])
        assert ask(tmp_path, f"select * from {name}") == []


def test_a_folder_without_streams_is_told(tmp_path: Path) -> None:
    with pytest.raises(NothingStored, match=r"nothing is stored in .*--data-dir"):
        ask(tmp_path, "select 1 from events")


def test_only_streams_that_the_query_names_are_looked_at(tmp_path: Path) -> None:
    folder = store(tmp_path, "received", [received(1)])
    flip(segments(folder)[0], -3)
    store(tmp_path, "events", [event(1)])
    assert ask(tmp_path, "SELECT count(*) FROM Events") == [(1,)]
    assert mentioned("select received from discarded") == ["discarded"]
    assert mentioned("describe events") == ["events"]
    assert mentioned("select 1; from received join discarded using (message_id)") == ["received", "discarded"]
    assert mentioned("show tables") == ["events", "received", "discarded"]


def test_a_stream_that_was_never_written_is_an_empty_table(tmp_path: Path) -> None:
    store(tmp_path, "received", [received(1)])
    assert ask(tmp_path, "select count(*) from received left join discarded using (message_id)") == [(1,)]
    assert ask(tmp_path, "show tables") == [(name,) for name in sorted(columns.VIEWS)]


# -- damage --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("which", [0, 1, -1])
def test_a_flipped_bit_anywhere_stops_the_query_and_names_the_file(tmp_path: Path, which: int) -> None:
    folder = store(tmp_path, "events", map(event, range(8)), a_segment=3)
    path = segments(folder)[which]
    flip(path, -3)
    with pytest.raises(
        Damage, match=rf"{path.name}, byte \d+ \(offset \d+\): .* does not match its checksum"
    ):
        ask(tmp_path, "select 1 from events")


def test_a_missing_segment_is_damage(tmp_path: Path) -> None:
    folder = store(tmp_path, "events", map(event, range(9)), a_segment=3)
    _, second, *_, last = segments(folder)
    kept = last.read_bytes()
    last.unlink()
    with pytest.raises(Damage, match="the segment is missing"):
        ask(tmp_path, "select 1 from events")
    last.write_bytes(kept)
    second.unlink()
    with pytest.raises(Damage, match="where the next segment begins"):
        ask(tmp_path, "select 1 from events")


def test_a_cut_segment_is_damage(tmp_path: Path) -> None:
    folder = store(tmp_path, "events", map(event, range(8)), a_segment=3)
    for path in (segments(folder)[0], segments(folder)[-1]):
        whole = path.read_bytes()
        path.write_bytes(whole[:-1])
        with pytest.raises(Damage, match=path.name):
            ask(tmp_path, "select 1 from events")
        path.write_bytes(whole)


def test_segments_without_a_mark_are_told(tmp_path: Path) -> None:
    folder = store(tmp_path, "events", [event(1)])
    (folder / NAME).unlink()
    with pytest.raises(LogError, match="start the daemon once"):
        ask(tmp_path, "select 1 from events")


def test_a_stored_line_that_is_no_object_is_told_with_its_file(tmp_path: Path) -> None:
    folder = store(tmp_path, "events", [b'{"type":"track","type":"page"}'])
    with pytest.raises(StoredLineError, match=segments(folder)[0].name):
        ask(tmp_path, "select type from events")


# -- what cannot be done -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "sql",
    [
        "select * from read_text('{secret}')",
        "select * from read_csv('{secret}')",
        "select * from '{secret}'",
        "copy (select * from events) to '{folder}/out.csv'",
        "attach '{folder}/other.db'",
        "install httpfs",
        "load httpfs",
        "select * from read_text('https://example.com/')",
        "select * from read_text('/proc/self/fd/../environ')",
        "set enable_external_access = true",
        "set allowed_directories = ['/']",
        "reset lock_configuration",
        "export database '{folder}/all'",
    ],
)
def test_nothing_but_the_archive_can_be_read_and_nothing_written(tmp_path: Path, sql: str) -> None:
    data, folder = tmp_path / "data", tmp_path / "elsewhere"
    folder.mkdir()
    (folder / "secret.csv").write_text("hush")
    store(data, "events", [event(1)])
    with open_archive(data, ["events"]) as archive:
        with pytest.raises(QueryError) as caught:
            list(archive.ask(sql.format(secret=folder / "secret.csv", folder=folder)).rows)
        assert list(archive.ask("select count(*) from events").rows) == [(1,)]
    assert "hush" not in str(caught.value)
    assert [path.name for path in folder.iterdir()] == ["secret.csv"]


def test_variables_of_this_program_are_no_tables(tmp_path: Path) -> None:
    store(tmp_path, "events", [event(1)])
    with pytest.raises(QueryError, match="does not exist"):
        ask(tmp_path, "select * from events_of_mine, events")


@pytest.mark.parametrize("sql", ["", " ", "-- only a comment", ";"])
def test_no_sql_is_told(tmp_path: Path, sql: str) -> None:
    for name in columns.VIEWS:
        store(tmp_path, name, [])
    with pytest.raises(QueryError, match="no SQL"):
        ask(tmp_path, sql)


def test_a_query_larger_than_memory_spills_to_a_folder_that_is_gone_afterwards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store(tmp_path, "events", map(event, range(3)))
    with open_archive(tmp_path, ["events"]) as archive:
        ((spill,),) = archive.ask("select current_setting('temp_directory')").rows
        assert Path(spill).is_dir()
        (count,) = archive.ask(
            "select count(*) from (select distinct message_id, i, repeat('x', 100) from events, range(100000) r(i))"
        ).rows
        assert count == (300_000,)
    assert not Path(spill).exists()


def test_leaving_the_archive_ends_a_query_that_still_runs(tmp_path: Path) -> None:
    store(tmp_path, "events", [])
    endless = "select count(*) from range(100000000000) r(i) where i % 7 = 3"
    with open_archive(tmp_path, ["events"]) as archive:
        # As `ask` does it, without waiting: Ctrl-C may come before it waits.
        asked = archive._thread.submit(archive._connection.execute, endless)
    assert asked.exception() is not None
