"""One line by its offset: the same that a reader finds, wherever it stands."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest

from cdpd.event import Position
from cdpd.log.errors import Damage, NoLongerKept
from cdpd.log.files import OsFiles
from cdpd.log.folder import StreamFolder
from cdpd.log.frame import Cursor
from cdpd.log.recompress import Recompression
from cdpd.log.retention import Retention
from cdpd.log.segment import segment_bases, segment_path
from cdpd.log.single import SingleLine, single_line
from tests.clock import FakeClock
from tests.log.conftest import Opened, lines

FILES = OsFiles()


def as_read(folder: Path) -> list[SingleLine]:
    """Every line, as a reader finds it."""
    found, reader = [], StreamFolder(folder).reader()
    while (piece := reader.read()) is not None:
        for frame in piece.frames:
            for number, line in enumerate(frame.lines):
                origin = None if frame.origins is None else frame.origins[number]
                position = Position(frame.base + number, frame.epoch)
                found.append(SingleLine(position, line, frame.last_ms, frame.config_id, origin))
    reader.close()
    return found


async def test_every_line_is_what_a_reader_finds(opened: Opened, clock: FakeClock, tmp_path: Path) -> None:
    folder = tmp_path / "events"
    for start in range(2):
        async with opened("events", segment_bytes=2000) as stream:
            for number in range(40):
                cursor = Cursor(Position(number, 1), 0)
                origins = [5 * number + 100 * start, 5 * number + 100 * start + 3]
                await stream.append(lines(2, 2 * number), config_id=start + 1, cursor=cursor, origins=origins)
                await clock.advance(1)
    for _ in range(2):
        read = as_read(folder)
        assert len(read) == 160
        assert [single_line(FILES, folder, offset) for offset in range(160)] == read
        bases = segment_bases(FILES, folder)
        for base, end in list(pairwise(bases))[::2]:
            job = Recompression(FILES, folder, base, end)
            while job.step():
                pass
            job.swap()
            job.finish()
            job.close()
    for path in folder.glob("*.idx"):
        path.unlink()
    assert [single_line(FILES, folder, offset) for offset in range(160)] == read
    with pytest.raises(IndexError):
        single_line(FILES, folder, 160)


async def test_a_line_that_is_gone_or_damaged_is_told(
    opened: Opened, clock: FakeClock, tmp_path: Path
) -> None:
    folder = tmp_path / "received"
    async with opened(segment_age=5) as stream:
        for number in range(30):
            await stream.append(lines(1, number), config_id=1)
            await clock.advance(1)
        await stream.retain(Retention(keep=12), {})
    begin = segment_bases(FILES, folder)[0]
    assert begin > 0
    with pytest.raises(NoLongerKept):
        single_line(FILES, folder, begin - 1)
    path = segment_path(folder, begin)
    content = bytearray(path.read_bytes())
    content[-20] ^= 1
    path.write_bytes(content)
    last = segment_bases(FILES, folder)[1] - 1
    with pytest.raises(Damage):
        single_line(FILES, folder, last)
    assert single_line(FILES, folder, begin).text
