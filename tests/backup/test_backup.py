"""A backup of a data folder: whole, of one moment, checked, and later only what is new."""

from __future__ import annotations

import asyncio
import json
import shutil
import sqlite3
import threading
from collections.abc import Coroutine
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import structlog

from cdpd.backup import backup as module
from cdpd.backup.backup import BackupError, Report, backup
from cdpd.config.data_folder import STREAMS, UNFINISHED_BACKUP, stream_folder
from cdpd.config.model import Config
from cdpd.log.agreement import disagreements
from cdpd.log.errors import LogError
from cdpd.log.files import OsFiles
from cdpd.log.folder import StreamFolder
from cdpd.log.frame import Cursor
from cdpd.log.mark import read_mark
from cdpd.log.recompress import Recompression
from cdpd.log.segment import segment_bases, segment_path
from cdpd.log.stream import Stream, StreamOptions, open_stream
from cdpd.metrics import Metrics
from cdpd.streams import open_streams, stream_options
from tests.clock import FakeClock
from tests.log.conftest import all_lines, lines

SMALL = StreamOptions(segment_bytes=1500)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    for name in STREAMS:
        stream_folder(folder, name).mkdir(parents=True)
    return folder


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "backup"


async def process(data: Path, count: int) -> None:
    """A daemon's life: lines are received, of four one is discarded, the rest become events."""
    async with (
        open_stream(stream_folder(data, "events"), clock=FakeClock(), options=SMALL, report=pytest.fail) as events,
        open_stream(
            stream_folder(data, "received"), clock=FakeClock(), options=SMALL, report=pytest.fail
        ) as received,
        open_stream(
            stream_folder(data, "discarded"), clock=FakeClock(), options=SMALL, report=pytest.fail,
            target=events.cursor.discarded if events.cursor else 0,
        ) as discarded,
    ):  # fmt: skip
        for _ in range(count):
            await receive(received, 4)
            await handle(received, events, discarded)


def in_a_loop_of_its_own(work: Coroutine[Any, Any, None]) -> None:
    thread = threading.Thread(target=asyncio.run, args=(work,))
    thread.start()
    thread.join()


async def receive(received: Stream, count: int) -> None:
    await received.append(lines(count, received.end.offset), config_id=1)


async def handle(received: Stream, events: Stream, discarded: Stream) -> None:
    first = events.cursor.received.offset if events.cursor else 0
    dropped = events.cursor.discarded if events.cursor else 0
    end = received.end
    await discarded.append(lines(1, dropped), config_id=1, publish=False)
    origins = list(range(first, end.offset - 1))
    await events.append(
        lines(len(origins), first), config_id=1, cursor=Cursor(end, dropped + 1), origins=origins
    )
    discarded.publish()


def take(data: Path, target: Path, **more: bool) -> Report:
    return backup(data, target, now="2026-01-31T12:00:00Z", tell=lambda _what, _size: None, **more)


def contents(data: Path, name: str) -> list[bytes]:
    return all_lines(StreamFolder(stream_folder(data, name)).reader())


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def readable_by_others(folder: Path) -> list[Path]:
    return [path for path in [folder, *folder.rglob("*")] if path.stat().st_mode & 0o077]


def thesis(folder: Path) -> None:
    folder.mkdir()
    (folder / "thesis.txt").write_text("x")


def recompress(folder: Path) -> None:
    bases = segment_bases(OsFiles(), folder)
    for base, end in pairwise(bases):
        job = Recompression(OsFiles(), folder, base, end)
        while job.step():
            pass
        assert job.swap()
        job.finish()
        job.close()


async def test_the_copy_has_every_line_and_its_streams_agree(data: Path, target: Path) -> None:
    await process(data, 30)
    report = take(data, target)
    assert report.findings == []
    for name in STREAMS:
        assert contents(target, name) == contents(data, name)
        assert list(StreamFolder(stream_folder(target, name)).verify()) == []
        assert len(report.streams[name].changed) == len(segment_bases(OsFiles(), stream_folder(data, name)))
    folders = (stream_folder(target, name) for name in ("events", "received", "discarded"))
    assert list(disagreements(OsFiles(), *folders)) == []
    manifest = json.loads((target / "backup.json").read_text())
    assert manifest["streams"]["received"] == {"begin": 0, "end": 120}
    assert (manifest["backup_of"], manifest["at"]) == (str(data), "2026-01-31T12:00:00Z")
    assert not (target / UNFINISHED_BACKUP).exists()


async def test_only_its_owner_may_read_it(data: Path, target: Path) -> None:
    await process(data, 3)
    with sqlite3.connect(data / "state.db") as state:
        state.execute("create table t (x)")
    (data / "plugins" / "p" / "deep").mkdir(parents=True)
    (data / "plugins" / "p" / "deep" / "file").write_text("x")
    take(data, target)
    assert readable_by_others(target) == []


async def test_again_only_what_is_new_is_copied(data: Path, target: Path) -> None:
    await process(data, 30)
    take(data, target)
    again = take(data, target)
    assert all(copied.changed == [] for copied in again.streams.values())
    assert again.copied_bytes == 0
    await process(data, 2)
    new = take(data, target)
    assert 0 < new.copied_bytes < 4000
    assert {name: contents(target, name) for name in STREAMS} == {
        name: contents(data, name) for name in STREAMS
    }


async def test_what_was_recompressed_removed_or_cut_back_since_is_followed(data: Path, target: Path) -> None:
    await process(data, 60)
    take(data, target)
    for name in STREAMS:
        recompress(stream_folder(data, name))
    segments = segment_bases(OsFiles(), stream_folder(data, "received"))
    segment_path(stream_folder(data, "received"), segments[0]).unlink()
    await process(data, 3)
    report = take(data, target)
    assert report.findings == []
    for name in STREAMS:
        assert contents(target, name) == contents(data, name)
        copied = files(stream_folder(target, name))
        original = files(stream_folder(data, name))
        for base in segment_bases(OsFiles(), stream_folder(data, name))[:-1]:
            assert copied[segment_path(data, base).name] == original[segment_path(data, base).name]
    assert StreamFolder(stream_folder(target, "received")).begin() == segments[1]


async def test_while_the_streams_are_written_the_copy_is_of_one_moment(
    data: Path, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the copies of the streams more is received and handled."""
    await process(data, 10)
    copy = module.copy_stream
    made: list[str] = []

    def then_goes_on(source: Path, *rest: object) -> object:
        copied = copy(source, *rest)  # type: ignore[arg-type]
        made.append(source.name)
        in_a_loop_of_its_own(process(data, 2))
        return copied

    monkeypatch.setattr(module, "copy_stream", then_goes_on)
    report = take(data, target)
    assert made == ["events", "discarded", "received"]
    assert report.findings == []
    assert [report.streams[name].end for name in ("events", "discarded", "received")] == [30, 10, 56]
    async with (
        open_stream(stream_folder(target, "events"), clock=FakeClock(), options=SMALL, report=pytest.fail) as events,
        open_stream(
            stream_folder(target, "received"), clock=FakeClock(), options=SMALL, report=pytest.fail
        ) as received,
        open_stream(
            stream_folder(target, "discarded"), clock=FakeClock(), options=SMALL, report=pytest.fail,
            target=10,
        ) as discarded,
    ):  # fmt: skip
        await handle(received, events, discarded)
    assert contents(target, "received") == lines(56)
    assert len(contents(target, "events")) + len(contents(target, "discarded")) == 56


async def test_databases_in_use_are_copied_as_of_one_moment(data: Path, target: Path) -> None:
    await process(data, 1)
    state = sqlite3.connect(data / "state.db", isolation_level=None)
    state.execute("pragma journal_mode = wal")
    state.execute("create table cursors (x)")
    state.execute("insert into cursors values (1)")
    state.execute("begin immediate")
    state.execute("insert into cursors values (2)")
    (data / "plugins" / "profiles").mkdir(parents=True)
    shutil.copy(data / "state.db", data / "plugins" / "profiles" / "people.sqlite")
    (data / "key-use.json").write_text("{}")
    take(data, target)
    state.execute("commit")
    state.close()
    with sqlite3.connect(target / "state.db") as copy:
        assert copy.execute("select x from cursors").fetchall() == [(1,)]
    assert [name for name in files(target) if name.startswith("state")] == ["state.db"]
    assert (target / "plugins" / "profiles" / "people.sqlite").exists()
    assert (target / "key-use.json").read_text() == "{}"


async def test_folders_that_are_made_again_are_left_out_and_named(data: Path, target: Path) -> None:
    await process(data, 1)
    for name in ("dedup", "other"):
        (data / "plugins" / name).mkdir(parents=True)
        (data / "plugins" / name / "ids").write_text("x")
    (data / "plugins" / "dedup" / "CACHEDIR.TAG").write_text("Signature: 8a477f597d28d172789f06886806bc55")
    report = take(data, target)
    assert report.left_out == ["plugins/dedup"]
    assert not (target / "plugins" / "dedup" / "ids").exists()
    assert (target / "plugins" / "other" / "ids").exists()
    (data / "plugins" / "other" / "ids").unlink()
    take(data, target)
    assert not (target / "plugins" / "other" / "ids").exists()


async def test_damage_is_copied_and_told(data: Path, target: Path) -> None:
    await process(data, 30)
    path = segment_path(
        stream_folder(data, "events"), segment_bases(OsFiles(), stream_folder(data, "events"))[1]
    )
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    report = take(data, target)
    (finding,) = report.findings
    assert finding.path == segment_path(stream_folder(target, "events"), int(path.name[:20]))
    assert "does not match its checksum" in finding.reason
    assert take(data, target).findings == [], "what was not copied again is not read again"
    assert len(take(data, target, whole=True).findings) == 1


async def test_it_refuses_places_that_are_no_backup(data: Path, target: Path, tmp_path: Path) -> None:
    await process(data, 1)
    thesis(target)
    with pytest.raises(BackupError, match="holds something, but no backup"):
        take(data, target)
    with pytest.raises(BackupError, match="inside of one another"):
        take(data, data / "backup")
    with pytest.raises(BackupError, match="inside of one another"):
        take(data, tmp_path)
    with pytest.raises(BackupError, match="is no folder"):
        take(data, target / "thesis.txt")
    with pytest.raises(BackupError, match="nothing is stored"):
        take(tmp_path / "nowhere", tmp_path / "b")


async def test_the_backup_of_another_log_is_not_overwritten(data: Path, target: Path, tmp_path: Path) -> None:
    await process(data, 5)
    await process(tmp_path / "other", 50)
    take(data, target)
    with pytest.raises(LogError, match="the copy of another log"):
        take(tmp_path / "other", target)
    (target / UNFINISHED_BACKUP).unlink()
    assert contents(target, "events") == contents(data, "events")


async def test_one_that_was_broken_off_is_marked_and_finished_by_the_next(
    data: Path, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await process(data, 30)

    def tell(what: str, size: int) -> None:
        if what == "received":
            raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        backup(data, target, now="", tell=tell)
    assert (target / UNFINISHED_BACKUP).exists()
    with pytest.raises(LogError, match="a backup that was not finished"):
        async with open_streams(
            target, stream_options(Config()), FakeClock(), Metrics(), structlog.get_logger()
        ):
            pass
    assert take(data, target).findings == []
    assert contents(target, "received") == contents(data, "received")
    assert not (target / UNFINISHED_BACKUP).exists()


async def test_where_no_frame_ends_at_the_moment_any_more_the_next_start_cuts_back(
    data: Path, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`discarded` went on and was recompressed between the copy of `events` and its own."""
    await process(data, 20)
    copy = module.copy_stream

    def meanwhile(source: Path, *rest: object) -> object:
        if source.name == "discarded":
            in_a_loop_of_its_own(process(data, 40))
            recompress(source)
        return copy(source, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "copy_stream", meanwhile)
    take(data, target)
    mark = read_mark(OsFiles(), stream_folder(target, "discarded"))
    assert mark is not None
    assert mark.end >= 20
    said: list[str] = []
    async with open_stream(
        stream_folder(target, "discarded"), clock=FakeClock(), options=SMALL, report=said.append, target=20
    ) as discarded:
        assert discarded.end.offset == 20
        assert all_lines(discarded.reader()) == lines(20)
