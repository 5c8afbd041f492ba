"""`cdpd log`: cat, ls and verify over real streams."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path

import pytest

from cdpd.config.data_folder import stream_folder
from cdpd.event import Position
from cdpd.log.files import OsFiles
from cdpd.log.frame import HAS_HOLES, Codec, Cursor, Header, crc32c, encode_header
from cdpd.log.lock import take_lock
from cdpd.log.mark import NAME, Mark
from cdpd.log.segment import segment_path
from cdpd.log.stream import StreamOptions, open_stream
from tests.clock import FakeClock
from tests.services import need
from tests.stored import AT_MS, encoded, event, received, store, store_all

from .conftest import Cdpd


def ids(lines: list[str]) -> list[str]:
    return [json.loads(line)["messageId"] for line in lines]


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)


def timed(number: int) -> dict[str, object]:
    """An event that came in so many seconds after the first."""
    return event(number, receivedAt=f"2026-01-31T12:00:{number:02d}.000Z")


def test_cat_prints_each_line_exactly_as_stored(cdpd: Cdpd, tmp_path: Path) -> None:
    lines = [b'{"z":1.10, "messageId" : "\xc3\xa4", "n":123456789012345678901234567890}', b'{"a":"\\u00e9"}']
    store(tmp_path, "received", lines)
    ran = cdpd("log", "cat", "received", "--data-dir", tmp_path)
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.encode() == b"".join(line + b"\n" for line in lines)


def test_cat_tells_offsets_where_asked(cdpd: Cdpd, tmp_path: Path) -> None:
    store(tmp_path, "events", map(event, range(5)), a_segment=2)
    ran = cdpd("log", "cat", "events", "--offsets", "--from", 3, "--data-dir", tmp_path)
    assert [line.partition("\t")[0] for line in ran.lines] == ["3", "4"]
    assert ids([line.partition("\t")[2] for line in ran.lines]) == ["m3", "m4"]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ((), range(12)),
        (("--from", "beginning"), range(12)),
        (("--from", "4"), range(4, 12)),
        (("--from", "4", "--to", "7"), range(4, 7)),
        (("--to", "0"), range(0)),
        (("--from", "100"), range(0)),
        (("--from", "now"), range(0)),
        (("--from", "2026-01-31T12:00:05Z"), range(5, 12)),
        (("--from", "2026-01-31T14:00:05+02:00", "--to", "2026-01-31T12:00:08Z"), range(5, 8)),
        (("--from", "2026-01-31", "--to", "2026-02-01"), range(12)),
        (("--to", "2026-01-31"), range(0)),
        (("--to", "1ms"), range(12)),
    ],
)
def test_cat_begins_and_ends_where_it_is_told(
    cdpd: Cdpd, tmp_path: Path, options: tuple[str, ...], expected: range
) -> None:
    store(tmp_path, "events", map(timed, range(12)), a_segment=5)
    ran = cdpd("log", "cat", "events", *options, "--data-dir", tmp_path)
    assert ran.code == 0
    assert ids(ran.lines) == [f"m{number}" for number in expected]


def test_cat_ends_at_a_time_even_where_the_clock_jumped_back(cdpd: Cdpd, tmp_path: Path) -> None:
    store(tmp_path, "events", [timed(0), timed(9), timed(3)])
    assert ids(
        cdpd("log", "cat", "events", "--to", "2026-01-31T12:00:05Z", "--data-dir", tmp_path).lines
    ) == ["m0", "m3"]


@pytest.mark.parametrize("place", ["yesterday", "-1", "12x", "2026-13-01", ""])
def test_a_place_that_is_none_is_told_with_the_forms(cdpd: Cdpd, tmp_path: Path, place: str) -> None:
    store(tmp_path, "events", [event(1)])
    ran = cdpd("log", "cat", "events", f"--from={place}", "--data-dir", tmp_path)
    assert ran.code == 2
    assert f"{place!r} is no place in a stream: write an offset (1234), a time" in ran.err


def test_cat_skips_deleted_events_and_keeps_the_offsets(cdpd: Cdpd, tmp_path: Path) -> None:
    folder = stream_folder(tmp_path, "events")
    folder.mkdir(parents=True)
    content = b"\n".join([*encoded([event(0)]), b"", *encoded([event(2)])]) + b"\n"
    body = Codec().compress(content)
    header = Header(0, 3, len(body), len(content), crc32c(body), AT_MS, AT_MS, 1, 1, flags=HAS_HOLES)
    frame = encode_header(header) + body
    segment_path(folder, 0).write_bytes(frame)
    head = int.from_bytes(encode_header(header)[-4:], "little")
    (folder / NAME).write_bytes(Mark(bytes(16), 1, 3, 0, len(frame), 0, AT_MS, head).encode())
    ran = cdpd("log", "cat", "events", "--offsets", "--data-dir", tmp_path)
    assert [line.partition("\t")[0] for line in ran.lines] == ["0", "2"]


def test_cat_prints_what_is_good_then_names_the_damage(cdpd: Cdpd, tmp_path: Path) -> None:
    folder = store(tmp_path, "events", map(event, range(9)), a_segment=3)
    path = sorted(folder.glob("*.zst"))[1]
    flip(path)
    ran = cdpd("log", "cat", "events", "--data-dir", tmp_path)
    assert ran.code == 1
    assert ids(ran.lines) == [f"m{number}" for number in range(len(ran.lines))]
    assert 0 < len(ran.lines) < 9
    assert ran.err.startswith(f"cdpd: damaged log: {path}, byte ")
    assert f"(offset {len(ran.lines)})" in ran.err
    assert "cdpd log verify events" in ran.err


def test_a_stream_that_is_not_there_is_told(cdpd: Cdpd, tmp_path: Path) -> None:
    ran = cdpd("log", "cat", "event", "--data-dir", tmp_path)
    assert (ran.code, ran.err) == (2, "cdpd: there is no stream 'event'; did you mean \"events\"?\n")
    ran = cdpd("log", "cat", "events", "--data-dir", tmp_path)
    assert ran.code == 1
    assert ran.err == f"cdpd: nothing is stored in {tmp_path} yet; is it the right folder (--data-dir)?\n"


def test_the_data_folder_is_the_configurations(cdpd: Cdpd, tmp_path: Path) -> None:
    store(tmp_path / "kept", "events", [event(7)])
    config = tmp_path / "cdpd.toml"
    config.write_text('[data]\ndir = "kept"\n')
    assert ids(cdpd("log", "cat", "events", "--config", config).lines) == ["m7"]
    config.write_text("[data\n")
    ran = cdpd("log", "cat", "events", "--config", config)
    assert ran.code == 2
    assert f"{config}:1:6: not valid TOML" in ran.err


def test_ls_lists_the_segments_of_every_stream(cdpd: Cdpd, tmp_path: Path) -> None:
    store_all(tmp_path)
    folder = store(tmp_path, "events", map(event, range(3, 10)), a_segment=3)
    ran = cdpd("log", "ls", "--data-dir", tmp_path)
    assert ran.code == 0
    header, *rows = ran.lines
    assert header.split() == ["stream", "from", "to", "size", "first", "last", "file"]
    assert [row.split()[0] for row in rows] == ["received", *["events"] * (len(rows) - 2), "discarded"]
    assert sum(" live " in row for row in rows) == 3
    found = cdpd("log", "ls", "events", "--json", "--data-dir", tmp_path).json
    assert list(found) == ["events"]
    assert [segment["path"] for segment in found["events"]] == [
        str(path) for path in sorted(folder.glob("*.zst"))
    ]
    assert found["events"][0]["base"] == 0
    assert found["events"][-1]["end"] == 9
    assert [segment["sealed"] for segment in found["events"]] == [True] * (len(found["events"]) - 1) + [False]


@pytest.mark.parametrize(
    ("options", "bases"),
    [
        ((), [0, 2, 4]),
        (("--from", "3"), [2, 4]),
        (("--from", "4"), [4]),
        (("--to", "4"), [0, 2]),
        (("--from", "1", "--to", "2"), [0]),
        (("--from", "2026-01-31T12:00:02Z"), [2, 4]),
        (("--from", "2026-01-31T12:00:02Z", "--to", "2026-01-31T12:00:04Z"), [2]),
        (("--to", "beginning"), []),
        (("--from", "now"), []),
    ],
)
def test_ls_lists_the_segments_that_hold_what_was_asked_for(
    cdpd: Cdpd, tmp_path: Path, options: tuple[str, ...], bases: list[int]
) -> None:
    store(tmp_path, "events", map(event, range(6)), a_segment=2)
    ran = cdpd("log", "ls", "events", "--json", *options, "--data-dir", tmp_path)
    assert [segment["base"] for segment in ran.json["events"]] == bases
    if not bases:
        shown = cdpd("log", "ls", "events", *options, "--data-dir", tmp_path)
        assert shown.out == "nothing is stored there\n"


def test_ls_of_streams_without_a_line_says_so(cdpd: Cdpd, tmp_path: Path) -> None:
    store(tmp_path, "events", [])
    assert cdpd("log", "ls", "events", "--data-dir", tmp_path).out == "nothing is stored yet\n"


def test_verify_says_that_all_is_whole(cdpd: Cdpd, tmp_path: Path) -> None:
    store_all(tmp_path)
    ran = cdpd("log", "verify", "--data-dir", tmp_path)
    assert (ran.code, ran.err) == (0, "")
    assert ran.lines == ["received: whole, 2 lines", "events: whole, 2 lines", "discarded: whole, 1 line"]


def test_verify_lists_every_damage_and_exits_1(cdpd: Cdpd, tmp_path: Path) -> None:
    store(tmp_path, "received", [received(1)])
    folder = store(tmp_path, "events", map(event, range(9)), a_segment=3)
    damaged = sorted(folder.glob("*.zst"))[:2]
    for path in damaged:
        flip(path)
    ran = cdpd("log", "verify", "received", "events", "--data-dir", tmp_path)
    assert ran.code == 1
    whole, *findings = ran.lines
    assert whole == "received: whole, 1 line"
    assert [finding.partition(", byte ")[0] for finding in findings] == [
        f"events: {path}" for path in damaged
    ]
    assert all("does not match its checksum" in finding for finding in findings)


def test_a_log_of_a_newer_cdpd_is_told(cdpd: Cdpd, tmp_path: Path) -> None:
    folder = store(tmp_path, "events", [event(1)])
    mark = bytearray((folder / NAME).read_bytes())
    mark[4] = 9
    mark[-4:] = crc32c(bytes(mark[:-4])).to_bytes(4, "little")
    (folder / NAME).write_bytes(mark)
    for command in (("cat", "events"), ("ls", "events"), ("verify", "events")):
        ran = cdpd("log", *command, "--data-dir", tmp_path)
        assert ran.code == 1, command
        assert "install a newer cdpd" in ran.err
        assert "Traceback" not in ran.err


def test_verify_in_json_and_of_a_range(cdpd: Cdpd, tmp_path: Path) -> None:
    folder = store(tmp_path, "events", map(event, range(9)), a_segment=3)
    first, second = sorted(folder.glob("*.zst"))[:2]
    flip(second)
    ran = cdpd("log", "verify", "events", "--json", "--data-dir", tmp_path)
    assert ran.code == 1
    answer = json.loads(ran.out)["events"]
    (finding,) = answer["findings"]
    assert (answer["lines"], answer["holes"], answer["set_aside"]) == (8, 0, 0)
    assert (finding["kind"], finding["path"], finding["lost"]) == ("damage", str(second), 1)
    assert finding["byte"] < finding["byte_end"] <= second.stat().st_size
    assert cdpd("log", "verify", "events", "--to", "3", "--data-dir", tmp_path).code == 0
    assert cdpd("log", "verify", "events", "--from", "6", "--data-dir", tmp_path).code == 0
    assert cdpd("log", "verify", "events", "--from", "5", "--data-dir", tmp_path).code == 1
    early = f"2026-01-31T12:00:0{4}Z"
    assert cdpd("log", "verify", "events", "--to", early, "--data-dir", tmp_path).code == 1
    assert first.exists()


def test_verify_compares_the_streams_with_each_other(cdpd: Cdpd, tmp_path: Path) -> None:
    async def write() -> None:
        for name, cursor in (("received", None), ("discarded", None), ("events", Cursor(Position(1, 77), 0))):
            async with open_stream(
                stream_folder(tmp_path, name), clock=FakeClock(), options=StreamOptions(), report=pytest.fail
            ) as stream:
                await stream.append(encoded([received(1)]), config_id=1, cursor=cursor)

    asyncio.run(write())
    ran = cdpd("log", "verify", "--data-dir", tmp_path)
    assert ran.code == 1
    assert "events: " in ran.lines[-1]
    assert "is not of that stream" in ran.lines[-1]
    assert cdpd("log", "verify", "events", "--data-dir", tmp_path).code == 0


def test_repair_says_what_was_lost_and_everything_else_is_read_again(cdpd: Cdpd, tmp_path: Path) -> None:
    store_all(tmp_path)
    folder = store(tmp_path, "events", map(event, range(3, 12)), a_segment=3)
    path = sorted(folder.glob("*.zst"))[1]
    flip(path)
    before = cdpd("log", "cat", "events", "--data-dir", tmp_path)
    assert before.code == 1
    dry = cdpd("log", "repair", "--dry-run", "--data-dir", tmp_path)
    assert dry.code == 0
    assert dry.lines[:2] == ["received: nothing to repair", dry.lines[1]]
    assert "  would be lost: 1 line, offset 4, stored at 2026-01-31T12:00:02" in dry.out
    assert cdpd("log", "verify", "events", "--data-dir", tmp_path).code == 1
    ran = cdpd("log", "repair", "--data-dir", tmp_path)
    assert ran.code == 0
    assert ran.out == dry.out.replace("would be kept", "are kept").replace("would be ", "")
    kept = next(folder.glob("*.damaged"))
    assert f"the damaged bytes are kept: {kept}" in ran.out
    assert ids(cdpd("log", "cat", "events", "--data-dir", tmp_path).lines) == [
        f"m{n}" for n in (1, 2, 3, 4, 6, 7, 8, 9, 10, 11)
    ]
    whole = cdpd("log", "verify", "events", "--data-dir", tmp_path)
    assert (
        whole.out
        == "events: whole, 11 lines, 1 of them deleted or lost; 1 file set aside (*.cut, *.damaged)\n"
    )


def test_repair_leaves_a_stream_that_somebody_writes_alone(cdpd: Cdpd, tmp_path: Path) -> None:
    store_all(tmp_path)
    lock = take_lock(OsFiles(), stream_folder(tmp_path, "received"))
    try:
        ran = cdpd("log", "repair", "events", "--data-dir", tmp_path)
    finally:
        lock.close()
    assert ran.code == 2
    assert "is writing this stream" in ran.err
    assert "needs the daemon stopped" in ran.err


def test_repair_as_root_leaves_no_file_of_roots_in_a_folder_of_somebody_elses(
    cdpd: Cdpd, tmp_path: Path
) -> None:
    need(os.geteuid() == 0, "root, who may give files away")
    folder = store(tmp_path, "events", map(event, range(6)), a_segment=3)
    for path in (folder, *folder.iterdir()):
        os.chown(path, 12345, 12346)
    flip(sorted(folder.glob("*.zst"))[0])
    assert cdpd("log", "repair", "events", "--data-dir", tmp_path).code == 0
    assert {(path.stat().st_uid, path.stat().st_gid) for path in folder.iterdir()} == {(12345, 12346)}
