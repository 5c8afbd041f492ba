"""`repair` makes damage into holes: every other line stays at its offset, and the damaged bytes are kept."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cdpd.event import BEGINNING
from cdpd.log.files import OsFiles
from cdpd.log.folder import StreamFolder
from cdpd.log.mark import NAME as MARK
from cdpd.log.mark import read_mark
from cdpd.log.reader import Frame
from cdpd.log.remake import Mended
from cdpd.log.repair import repair
from tests.log.conftest import Opened, lines
from tests.log.disk import Disk
from tests.log.faulty import FaultyFiles
from tests.log.test_verify import events, places, segment

__all__ = ["events"]


def frames(folder: Path) -> list[Frame]:
    reader, found = StreamFolder(folder).reader(), list[Frame]()
    while (piece := reader.read()) is not None:
        found += piece.frames
    reader.close()
    return found


def by_offset(folder: Path) -> dict[int, bytes]:
    return {i: line for frame in frames(folder) for i, line in enumerate(frame.lines, frame.base)}


def mended(folder: Path, dry_run: bool = False) -> list[Mended]:
    return list(repair(OsFiles(), folder, dry_run=dry_run))


def snapshot(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def restore(folder: Path, before: dict[str, bytes]) -> None:
    for path in folder.iterdir():
        path.unlink()
    for name, content in before.items():
        (folder / name).write_bytes(content)
        (folder / name).chmod(0o600)


def flip(path: Path, at: int) -> None:
    content = bytearray(path.read_bytes())
    content[at] ^= 0x40
    path.write_bytes(content)


@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    seed=st.integers(0, 1 << 32),
    kinds=st.lists(st.sampled_from(["flip", "cut", "remove", "empty"]), max_size=4),
)
def test_whatever_is_damaged_the_rest_stays_where_it_was(events: Path, seed: int, kinds: list[str]) -> None:
    random, before, whole = Random(seed), snapshot(events), by_offset(events)
    epochs = {frame.base: frame.epoch for frame in frames(events)}
    end = StreamFolder(events).end()
    first = segment(events, 0)
    try:
        for kind in kinds:
            path = random.choice(sorted(events.glob("*.zst")))
            size = path.stat().st_size
            if kind == "flip" and size:
                flip(path, random.randrange(size))
            elif kind == "cut" and size:
                path.write_bytes(path.read_bytes()[: random.randrange(size)])
            elif kind == "remove" and path != first:
                path.unlink()
            elif kind == "empty":
                path.write_bytes(b"")
        damaged = snapshot(events)
        said = mended(events, dry_run=True)
        assert snapshot(events) == damaged
        lost = {offset for one in said for offset in range(one.offset, one.end)}
        assert mended(events) == said
        assert [finding for finding in StreamFolder(events).verify() if finding.kind != "note"] == []
        assert by_offset(events) == {i: b"" if i in lost else line for i, line in whole.items()}
        assert StreamFolder(events).end() == end
        assert mended(events) == []
        before_it = None
        for frame in frames(events):
            if len(kinds) < 2:  # else all that knew where an epoch began may be gone
                assert frame.epoch == epochs.get(frame.base, frame.epoch)
            assert frame.cursor is not None or before_it is None
            before_it = frame.cursor
        for one in said:
            if one.aside is not None:
                content = one.aside.read_bytes()
                assert damaged[one.path.name][one.at :].startswith(content)
                assert content
    finally:
        restore(events, before)


def test_what_was_lost_is_told(events: Path) -> None:
    path = segment(events, 1)
    (at, after) = places(path)[1]
    flip(path, after - 1)  # the body of lines 6 to 8
    at_header = places(path)[2][0]
    flip(path, at_header + 20)  # the header of lines 9 to 11
    body, header = mended(events)
    assert (body.path, body.at, body.offset, body.end) == (path, at, 6, 9)
    assert body.reason == "the frame's body does not match its checksum"
    assert body.aside == path.with_name(f"{path.name}.{at}.damaged")
    assert len(body.aside.read_bytes()) == after - at
    assert body.first_ms == body.last_ms == frames(events)[2].last_ms
    assert (body.origins, body.again_from) == ((6, 9), None)
    assert (header.at, header.offset, header.end) == (at_header, 9, 12)
    assert header.origins == (9, 12), "from the positions before and after"
    assert body.first_ms <= header.first_ms <= header.last_ms
    assert [len(frame.lines) for frame in frames(events)[2:4]] == [3, 3]
    assert all(frame.holes for frame in frames(events)[2:4])


async def test_a_lost_end_is_gone_over_again_and_the_stream_goes_on(events: Path, opened: Opened) -> None:
    path = segment(events, 3)
    flip(path, places(path)[2][0] + 30)
    (one,) = mended(events)
    assert (one.offset, one.end, one.origins, one.again_from) == (21, 24, None, 21)
    async with opened("events") as stream:
        assert stream.end.offset == 24
        assert stream.cursor is not None
        assert stream.cursor.received.offset == 21
        done = await stream.append([b"{}"], config_id=1, cursor=stream.cursor, origins=[20])
        assert done.first == 24
        assert by_offset(events)[24] == b"{}"
    assert list(StreamFolder(events).verify()) == []


async def test_a_lost_body_at_the_end_keeps_the_position(events: Path, opened: Opened) -> None:
    path = segment(events, 3)
    flip(path, path.stat().st_size - 1)
    (one,) = mended(events)
    assert (one.offset, one.end, one.origins, one.again_from) == (21, 24, (21, 24), None)
    async with opened("events") as stream:
        assert stream.cursor is not None
        assert stream.cursor.received.offset == 24


async def test_a_cursor_from_before_is_good_after_a_repair(events: Path) -> None:
    position = StreamFolder(events).at_offset(9)
    for number in range(4):
        flip(segment(events, number), 30)  # all first frames, with the lineage
    assert len(mended(events)) == 4
    reader = StreamFolder(events).reader(position)
    assert reader.read() is not None
    assert StreamFolder(events).at_offset(9) == position


async def test_a_frame_that_goes_past_the_next_segment_is_cut_to_what_counts(events: Path) -> None:
    path = segment(events, 1)
    path.rename(path.with_name(f"{5:020d}.ndjson.zst"))
    said = mended(events)
    assert "past offset 5" in said[0].reason
    assert (said[0].offset, said[0].end) == (5, 5), (
        "nothing of it is lost: line 5 would be the next segment's"
    )
    assert [(one.offset, one.end) for one in said[1:]] == [(5, 6)]
    assert {i: line for i, line in by_offset(events).items() if line} == {
        i: line for i, line in enumerate(lines(24)) if i != 5
    }


def test_a_segment_that_the_mark_does_not_know_is_put_aside(events: Path) -> None:
    path = events / f"{22:020d}.ndjson.zst"
    path.write_bytes(segment(events, 3).read_bytes())
    path.chmod(0o600)
    (one,) = mended(events)
    assert one.aside is not None
    assert one.aside.name == f"{path.name}.damaged"
    assert one.aside.exists()
    assert list(StreamFolder(events).verify()) == []


def test_rights_of_others_and_a_wrong_index_are_put_right(events: Path) -> None:
    segment(events, 0).chmod(0o644)
    index = next(events.glob("*12.idx"))
    flip(index, 30)
    assert [one.path for one in mended(events)] == [segment(events, 0), index]
    assert segment(events, 0).stat().st_mode & 0o777 == 0o600
    assert not index.exists()
    assert mended(events) == []


async def test_many_lost_lines_take_several_frames(events: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cdpd.log.rewrite.MAX_CONTENT", 4)
    segment(events, 1).unlink()
    mended(events)
    assert [frame.count for frame in frames(events)] == [3, 3, 4, 2, 3, 3, 3, 3]
    assert list(StreamFolder(events).verify()) == []


def test_with_the_mark_lost_the_last_segment_is_left_to_the_daemon(events: Path) -> None:
    (events / MARK).unlink()
    for number in (1, 3):
        flip(segment(events, number), places(segment(events, number))[1][0] + 30)
    before = segment(events, 3).read_bytes()
    (one,) = mended(events)
    assert one.path == segment(events, 1)
    assert segment(events, 3).read_bytes() == before


DO: list[Callable[[bytes], bytes]] = [
    lambda content: content[:-1] + b"?",
    lambda content: content[:200] + b"????" + content[204:],
    lambda content: content[:300],
    lambda _: b"",
]


@pytest.mark.parametrize("number", [0, 3])
@pytest.mark.parametrize("do", DO)
@pytest.mark.parametrize("then", ["same boot", "power loss"])
def test_interrupted_at_any_moment_it_can_be_done_again(
    events: Path, number: int, do: Callable[[bytes], bytes], then: str
) -> None:
    damaged = segment(events, number)
    damaged.write_bytes(do(damaged.read_bytes()))
    folder, operations = Path("/simulated/events"), 0
    contents, whole = snapshot(events), None
    while True:
        disk = Disk(operations)
        for name, content in contents.items():
            if name not in ("lock", MARK):
                file = disk.create(folder / name)
                file.write(content)
                file.sync()
        mark = read_mark(OsFiles(), events)
        assert mark is not None
        disk.overwrite(folder / MARK, mark.encode())
        disk.sync_folder(folder)
        disk.open_end(folder / MARK, 80).sync()
        disk.operations_left = operations
        try:
            list(repair(disk, folder, dry_run=False))
            finished = True
        except OSError:
            finished = False
        if then == "power loss":
            disk.reboot()
        else:
            disk.next_process()
        list(repair(disk, folder, dry_run=False))
        stream = StreamFolder(folder, disk)
        assert [finding for finding in stream.verify() if finding.kind != "note"] == []
        assert stream.end().offset == 24
        reader, found = stream.reader(BEGINNING), list[bytes]()
        while (piece := reader.read()) is not None:
            found += [line for frame in piece.frames for line in frame.lines]
        assert len(found) == 24
        if whole is None:
            whole = found
        assert found == whole
        if do in DO[:2]:
            assert any(path.name.endswith(".damaged") for path in disk.cached)
        if finished:
            return
        operations += 1


async def test_a_start_after_an_interrupted_repair_of_the_last_segment_keeps_every_line(
    events: Path, opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Renamed, and the mark not yet put right."""
    flip(segment(events, 3), segment(events, 3).stat().st_size - 1)
    files, rename, marks = FaultyFiles(), FaultyFiles.rename, list[Path]()

    def once(old: Path, new: Path) -> None:
        marks.extend([new] if new.name == MARK else [])
        if len(marks) == 2:
            raise OSError("killed")
        rename(files, old, new)

    monkeypatch.setattr(files, "rename", once)
    with pytest.raises(OSError, match="killed"):
        list(repair(files, events, dry_run=False))
    async with opened("events") as stream:
        assert stream.end.offset == 24
        assert stream.cursor is not None
        assert stream.cursor.received.offset == 24
    assert {i for i, line in by_offset(events).items() if not line} == {21, 22, 23}
