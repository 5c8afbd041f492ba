"""`verify` finds and names what is not as it was written: any changed byte, and what bytes alone do not show."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cdpd.event import Position
from cdpd.log.files import OsFiles
from cdpd.log.folder import StreamFolder
from cdpd.log.frame import Cursor, encode_header
from cdpd.log.mark import Mark, read_mark
from cdpd.log.segment import read_place, walk
from cdpd.log.verify import Finding, Verified
from tests.log.conftest import Opened, lines


@pytest.fixture
async def events(opened: Opened, tmp_path: Path) -> Path:
    """Two starts, four segments, frames with cursors, origins and without lines."""
    number = 0
    for _ in range(2):
        async with opened("events", segment_bytes=360) as stream:
            for _ in range(4):
                cursor = Cursor(Position(3 * number + 3, 7), number)
                origins = list(range(3 * number, 3 * number + 3))
                await stream.append(lines(3, 3 * number), config_id=1, cursor=cursor, origins=origins)
                number += 1
    assert len(list((tmp_path / "events").glob("*.zst"))) == 4
    return tmp_path / "events"


def segment(folder: Path, number: int) -> Path:
    return sorted(folder.glob("*.zst"))[number]


def places(path: Path) -> list[tuple[int, int]]:
    """Bytes [at, after) of each frame."""
    file = OsFiles().open(path)
    try:
        return [(place.at, place.after) for place in walk(file, file.size(), path)]
    finally:
        file.close()


def found(folder: Path) -> list[Finding]:
    return list(StreamFolder(folder).verify())


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_any_single_changed_byte_is_found_and_named_with_its_place(events: Path, data: st.DataObject) -> None:
    assert found(events) == []
    names = sorted(path.name for path in events.iterdir() if path.name != "lock")
    path = events / data.draw(st.sampled_from(names))
    content = path.read_bytes()
    at = data.draw(st.integers(0, len(content) - 1))
    try:
        path.write_bytes(
            content[:at] + bytes([content[at] ^ data.draw(st.integers(1, 255))]) + content[at + 1 :]
        )
        named = [finding for finding in found(events) if finding.path == path]
        assert len(named) == 1
        (finding,) = named
        assert finding.at is None or finding.after is None or finding.at <= at < finding.after
        if path.suffix == ".zst":
            frame = next(frame for frame in _places_of(content, path) if frame[0] <= at < frame[1])
            assert (finding.at, finding.after) == frame
    finally:
        path.write_bytes(content)


def _places_of(content: bytes, path: Path) -> list[tuple[int, int]]:
    copy = path.parent.parent / "copy"
    copy.write_bytes(content)
    try:
        return places(copy)
    finally:
        copy.unlink()


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_any_cut_is_found(events: Path, data: st.DataObject) -> None:
    path = data.draw(st.sampled_from(sorted(events.glob("*.zst"))))
    content = path.read_bytes()
    size = data.draw(st.integers(0, len(content) - 1))
    try:
        path.write_bytes(content[:size])
        named = found(events)
        assert {finding.path for finding in named} == {path}
        assert max(finding.at or 0 for finding in named) <= size
        ends = [0, *(after for _, after in _places_of(content, path))]
        assert named[-1].at == max(end for end in ends if end <= size)
    finally:
        path.write_bytes(content)


def _missing(folder: Path) -> tuple[str, str]:
    path = segment(folder, 1)
    path.unlink()
    return segment(folder, 0).name, "should go on to offset 12; 6 lines"


def _last_missing(folder: Path) -> tuple[str, str]:
    path = segment(folder, 3)
    path.unlink()
    return path.name, "the segment is missing"


def _empty(folder: Path) -> tuple[str, str]:
    path = segment(folder, 1)
    path.write_bytes(b"")
    return path.name, "byte 0 (offset 6): the segment ends here, but should go on to offset 12"


def _overlap(folder: Path) -> tuple[str, str]:
    """The second segment begins one line early."""
    path = segment(folder, 1)
    path.with_name(path.with_suffix("").with_suffix(".idx").name).unlink(missing_ok=True)
    path.rename(path.with_name(f"{5:020d}.ndjson.zst"))
    return segment(folder, 0).name, "frames go on past offset 5, where the next segment begins"


def _unknown_to_the_mark(folder: Path) -> tuple[str, str]:
    path = folder / f"{22:020d}.ndjson.zst"
    shutil.copy(segment(folder, 3), path)
    path.chmod(0o600)
    return path.name, "that the durable mark does not know"


def _mark_beyond(folder: Path) -> tuple[str, str]:
    mark = _mark(folder)
    (folder / "mark").write_bytes(
        Mark(
            mark.boot_id, mark.epoch, mark.end + 5, mark.segment, mark.size, mark.last_frame, mark.last_ms, mark.head
        ).encode()
    )  # fmt: skip
    return segment(folder, 3).name, "should go on to offset 29"


def _mark_of_another_file(folder: Path) -> tuple[str, str]:
    mark = _mark(folder)
    (folder / "mark").write_bytes(
        Mark(
            mark.boot_id, mark.epoch, mark.end, mark.segment, mark.size, mark.last_frame, mark.last_ms, mark.head ^ 1
        ).encode()
    )  # fmt: skip
    return segment(folder, 3).name, "is not the one that the durable mark speaks of"


def _foreign(folder: Path) -> tuple[str, str]:
    (folder / "notes.txt").write_text("")
    return "notes.txt", "not a file of this stream"


def _readable_by_others(folder: Path) -> tuple[str, str]:
    segment(folder, 2).chmod(0o640)
    return segment(folder, 2).name, "mode 0640; chmod go= "


def _wrong_count(folder: Path) -> tuple[str, str]:
    """A header, with a right checksum, that says more lines than the body has; so its line count is past the end."""
    path = segment(folder, 3)
    content, (at, _) = path.read_bytes(), places(path)[2]
    file = OsFiles().open(path)
    header = read_place(file, at, len(content), path).header
    file.close()
    header.base, header.count, header.origins = header.base + 1, header.count - 1, [1, 2]
    made = encode_header(header)
    path.write_bytes(content[:at] + made + content[at + header.length :])
    return path.name, "stands where 21 belongs"


def _mark(folder: Path) -> Mark:
    mark = read_mark(OsFiles(), folder)
    assert mark is not None
    return mark


@pytest.mark.parametrize(
    "do",
    [
        _missing,
        _last_missing,
        _empty,
        _overlap,
        _unknown_to_the_mark,
        _mark_beyond,
        _mark_of_another_file,
        _foreign,
        _readable_by_others,
        _wrong_count,
    ],
)
def test_what_bytes_alone_do_not_show_is_found_too(
    events: Path, do: Callable[[Path], tuple[str, str]]
) -> None:
    name, reason = do(events)
    texts = [str(finding) for finding in found(events) if finding.path.name == name]
    assert any(reason in text for text in texts), found(events)


def test_a_range_leaves_other_segments_alone(events: Path) -> None:
    for number in (0, 2):
        path = segment(events, number)
        path.write_bytes(path.read_bytes()[:-1] + b"?")
    stream = StreamFolder(events)
    assert [finding.offset for finding in stream.verify()] == [3, 15]
    assert [finding.offset for finding in stream.verify(0, 6)] == [3]
    assert [finding.offset for finding in stream.verify(6, 12)] == []
    assert [finding.offset for finding in stream.verify(8)] == [15]
    verified = Verified()
    list(stream.verify(6, 12, verified))
    assert (verified.lines, verified.holes) == (6, 0)
