"""The archive without cdpd: `zstd -dc` and DuckDB read segments as they are, frames without lines and holes too."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import duckdb
import pytest

from cdpd.event import Position
from cdpd.log.folder import StreamFolder
from cdpd.log.frame import Cursor
from tests.log.conftest import Opened, all_lines, lines
from tests.log.holes import make_holes
from tests.services import program


@pytest.fixture
async def sealed(opened: Opened, tmp_path: Path) -> Path:
    """A stream `events` of three segments and 30 lines; some frames have none, some lines are gone."""
    async with opened("events", segment_bytes=600) as stream:
        for i in range(10):
            await stream.append(lines(3, 3 * i), config_id=1, cursor=Cursor(Position(3 * i + 3, 7), i))
            await stream.append([], config_id=1, cursor=Cursor(Position(3 * i + 3, 7), i))
    folder = tmp_path / "events"
    segments = sorted(folder.glob("*.zst"))
    assert len(segments) > 2
    make_holes(segments[0], {0, 1, 2, 4})
    return folder


KEPT = [line for n, line in enumerate(lines(30)) if n not in (0, 1, 2, 4)]


def test_the_zstd_command_prints_the_lines(sealed: Path) -> None:
    zstd = program("zstd")
    out = b""
    for segment in sorted(sealed.glob("*.zst")):
        out += subprocess.run([zstd, "-dc", segment], check=True, capture_output=True).stdout
    assert out.split(b"\n")[:6] == [b"", b"", b"", b'{"n":3}', b"", b'{"n":5}']
    assert [line for line in out.split(b"\n") if line] == KEPT


def test_duckdb_reads_the_segments(sealed: Path) -> None:
    found = duckdb.sql(
        f"select n from read_json('{sealed}/*.ndjson.zst', format = 'newline_delimited') order by n"
    ).fetchall()
    assert [n for (n,) in found] == [json.loads(line)["n"] for line in KEPT]


def test_readers_pass_over_holes_and_keep_every_offset(sealed: Path) -> None:
    folder = StreamFolder(sealed)
    assert all_lines(folder.reader()) == KEPT
    piece = folder.reader().read(max_lines=6)
    assert piece is not None
    assert piece.count == 6
    assert [(offset, line) for _, offset, _, line in piece.records()] == [(3, b'{"n":3}'), (5, b'{"n":5}')]
    assert [frame.holes for frame in piece.frames] == [True, True]
    assert all_lines(folder.reader(folder.at_offset(4))) == [line for line in KEPT if line != b'{"n":3}']
    assert list(folder.verify()) == []
