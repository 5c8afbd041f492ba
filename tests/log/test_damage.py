"""Bytes that are not what was written: named with their place, never served, never passed over."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from cdpd.log.errors import Damage
from cdpd.log.folder import StreamFolder
from cdpd.log.segment import walk
from tests.log.conftest import Opened, lines
from tests.log.faulty import FaultyFiles


@pytest.fixture
async def folder(opened: Opened, tmp_path: Path) -> Path:
    """Segments of 4, 4 and 4 lines, in frames of 2."""
    for i in range(3):
        async with opened() as stream:
            await stream.append(lines(2, 4 * i), config_id=1)
            await stream.append(lines(2, 4 * i + 2), config_id=1)
    return tmp_path / "received"


def _segment(folder: Path, base: int) -> Path:
    return folder / f"{base:020d}.ndjson.zst"


def _contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.glob("*.zst")}


def _places(path: Path) -> list[int]:
    file = FaultyFiles().open(path)
    try:
        return [place.at for place in walk(file, file.size(), path)]
    finally:
        file.close()


def _flip(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


def _served(folder: Path) -> tuple[list[bytes], Damage | None]:
    reader, found = StreamFolder(folder).reader(), list[bytes]()
    try:
        while (piece := reader.read()) is not None:
            found += [line for _, _, _, line in piece.records()]
    except Damage as damage:
        return found, damage
    return found, None


def _flip_body(folder: Path) -> tuple[str, int, int]:
    path = _segment(folder, 4)
    at = _places(path)[2]
    _flip(path, len(path.read_bytes()) - 1)
    return "body does not match its checksum", at, 6


def _flip_header(folder: Path) -> tuple[str, int, int]:
    path = _segment(folder, 4)
    at = _places(path)[1]
    _flip(path, at + 20)
    return "header does not match its checksum", at, 4


def _flip_magic(folder: Path) -> tuple[str, int, int]:
    path = _segment(folder, 4)
    at = _places(path)[2]
    _flip(path, at)
    return "no frame starts here", at, 6


def _cut_sealed(folder: Path) -> tuple[str, int, int]:
    path = _segment(folder, 4)
    at = _places(path)[2]
    path.write_bytes(path.read_bytes()[:-1])
    return "cut short", at, 6


def _cut_at_a_frame(folder: Path) -> tuple[str, int, int]:
    path = _segment(folder, 4)
    at = _places(path)[2]
    path.write_bytes(path.read_bytes()[:at])
    return "should go on to offset 8|cut short", at, 6


def _remove(folder: Path) -> tuple[str, int, int]:
    _segment(folder, 4).unlink()
    return "should go on to offset 8|cut short", _segment(folder, 0).stat().st_size, 4


def _live(folder: Path) -> tuple[str, int, int]:
    path = _segment(folder, 8)
    at = _places(path)[2]
    path.write_bytes(path.read_bytes()[:-1])
    return "cut short", at, 10


DAMAGES = [_flip_body, _flip_header, _flip_magic, _cut_sealed, _cut_at_a_frame, _remove, _live]


@pytest.mark.parametrize("do", DAMAGES)
async def test_damage_is_named_and_stops_readers(
    folder: Path, do: Callable[[Path], tuple[str, int, int]]
) -> None:
    reason, at, offset = do(folder)
    found, damage = _served(folder)
    assert found == lines(offset), "what is good before it is served"
    assert damage is not None
    assert (damage.at, damage.offset) == (at, offset)
    findings = [str(finding) for finding in StreamFolder(folder).verify()]
    assert len(findings) == 1
    assert f"byte {at} (offset {offset})" in findings[0]
    assert any(part in findings[0] for part in reason.split("|")), findings[0]
    assert str(damage.path) in findings[0]


@pytest.mark.parametrize("do", DAMAGES)
@pytest.mark.parametrize("boot", ["same", "another"])
async def test_a_start_over_damage_below_what_is_named_reports_it_and_goes_on_behind_it(
    do: Callable[[Path], tuple[str, int, int]], boot: str, folder: Path, opened: Opened, reports: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    do(folder)
    before = _contents(folder)
    if boot == "another":
        monkeypatch.setattr(FaultyFiles, "boot_id", lambda _: b"another boot....")
    found, damage = _served(folder)
    async with opened() as stream:
        assert stream.end.offset == 12, "offsets that were given out are not given out again"
        assert (await stream.append(lines(1, 12), config_id=1)).first == 12
        position = stream.end
        again, still = _served(folder)
        assert again == found
        assert still is not None
        assert damage is not None
        assert (still.at, still.offset) == (damage.at, damage.offset)
        assert StreamFolder(folder).reader(position).read() is None
    assert before.items() <= _contents(folder).items(), "nothing damaged is touched"
    assert [("cannot be read" in text) for text in reports] == [True] * (do is _live)


async def test_a_stream_whose_files_are_all_gone_does_not_give_offsets_out_again(
    folder: Path, opened: Opened, reports: list[str]
) -> None:
    for base in (0, 4, 8):
        _segment(folder, base).unlink()
    async with opened() as stream:
        assert (await stream.append(lines(1), config_id=1)).first == 12
        assert "0 to 12 were written but cannot be read" in reports[0]
        assert StreamFolder(folder).reader(stream.end).read() is None


async def test_a_lost_mark_is_made_again(folder: Path, opened: Opened) -> None:
    (folder / "mark").unlink()
    assert [str(finding) for finding in StreamFolder(folder).verify()] == [
        f"{folder / 'mark'}: missing or not whole; the daemon's next start makes it again"
    ]
    async with opened():
        assert _served(folder) == (lines(12), None)
