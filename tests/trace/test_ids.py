"""The index files: every id is found again, however its hash falls, in small files and in merged ones."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cdpd.event import Position
from cdpd.log.files import OsFiles
from cdpd.trace.gather import FAN, merge, to_merge
from cdpd.trace.ids import HEADER_BYTES, BadIds, Ids, IdsFile, hash_of, ids_in, ids_path, write_ids

FILES = OsFiles()


def written(folder: Path, first: int, hashes: Sequence[int], epoch: int = 7) -> Ids:
    """A file in which the line first + i has the i-th hash."""
    entries = [hashed << 32 | line for line, hashed in enumerate(hashes)]
    return write_ids(FILES, folder, first, Position(first + len(hashes), epoch), [entries])


def found(ids: Ids, hashed: int) -> list[int]:
    file = IdsFile(FILES, ids)
    try:
        return file.find(hashed)
    finally:
        file.close()


def lines_by_hash(first: int, hashes: Iterable[int]) -> Mapping[int, list[int]]:
    lines: dict[int, list[int]] = {}
    for offset, hashed in enumerate(hashes, first):
        lines.setdefault(hashed, []).append(offset)
    return lines


def test_every_id_is_found_where_it_stands_and_no_other(tmp_path: Path) -> None:
    hashes = [hash_of(b"m%d" % number) for number in range(20_000)]
    ids = written(tmp_path, 1000, hashes)
    file = IdsFile(FILES, ids)
    for hashed, offsets in lines_by_hash(1000, hashes).items():
        assert file.find(hashed) == offsets
    assert not any(file.find(hash_of(b"x%d" % number)) for number in range(100))
    file.close()


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 2**32 - 1) | st.integers(0, 3) | st.just(2**32 - 1), max_size=300))
def test_hashes_that_are_spread_unevenly_are_found_too(
    tmp_path_factory: pytest.TempPathFactory, hashes: list[int]
) -> None:
    ids = written(tmp_path_factory.mktemp("ids"), 5, hashes)
    for hashed, offsets in lines_by_hash(5, hashes).items():
        assert found(ids, hashed) == offsets
    assert found(ids, 17) == lines_by_hash(5, hashes).get(17, [])


@pytest.mark.parametrize("hashed", [0, 1, 2**31, 2**32 - 1])
def test_a_hash_that_fills_a_file_is_found_on_all_its_lines(tmp_path: Path, hashed: int) -> None:
    ids = written(tmp_path, 0, [hashed] * 9000)
    assert found(ids, hashed) == list(range(9000))
    assert found(ids, 5) == []


def test_merged_files_say_what_the_smaller_ones_said(tmp_path: Path) -> None:
    parts, hashes = [], list[int]()
    for length in (5000, 0, 1, 4321):
        its = [hash_of(b"%d" % (number % 3000)) for number in range(len(hashes), len(hashes) + length)]
        parts.append(written(tmp_path, 100 + len(hashes), its, epoch=len(parts)))
        hashes += its
    ids = merge(FILES, tmp_path, parts)
    assert (ids.first, ids.end) == (100, 100 + len(hashes))
    file = IdsFile(FILES, ids)
    assert file.position == Position(ids.end, 3)
    assert sum(map(len, file.whole())) == file.count == len(hashes)
    for hashed, offsets in lines_by_hash(100, hashes).items():
        assert file.find(hashed) == offsets
    file.close()


def test_neighbours_of_one_size_become_one_and_large_ones_are_left(tmp_path: Path) -> None:
    def row(first: int, lines: int, count: int) -> list[Ids]:
        return [Ids(at, at + lines, tmp_path) for at in range(first, first + lines * count, lines)]

    assert to_merge(row(0, 100, FAN - 1)) is None
    assert to_merge(row(0, 100, FAN + 3)) == row(0, 100, FAN)
    assert to_merge(row(0, 3_000_000, FAN)) is None
    assert to_merge(row(0, 60_000, 5) + row(300_000, 100, 2)) is None
    assert to_merge(row(0, 60_000, 5) + row(300_000, 100, 3)) == row(0, 60_000, 5) + row(300_000, 100, 3)
    gap = row(0, 100, 4) + row(500, 100, FAN - 1)
    assert to_merge(gap) is None


def test_a_file_that_is_not_whole_is_not_believed(tmp_path: Path) -> None:
    ids = written(tmp_path, 0, [hash_of(b"m")] * 100)
    good = ids.path.read_bytes()
    for bad in (b"", good[:-8], good[: HEADER_BYTES - 1], b"\0" * HEADER_BYTES, good + b"\0" * 8):
        ids.path.write_bytes(bad)
        with pytest.raises(BadIds):
            IdsFile(FILES, ids)
    ids.path.write_bytes(good[:-1] + b"\xff")
    file = IdsFile(FILES, ids)
    with pytest.raises(BadIds, match="checksum"):
        list(file.whole())
    file.close()
    other = Ids(0, 101, ids_path(tmp_path, 0, 101))
    other.path.write_bytes(good)
    with pytest.raises(BadIds, match="another file"):
        IdsFile(FILES, other)


def test_what_breaks_off_leaves_no_file_behind(tmp_path: Path) -> None:
    def no_rest() -> None:
        raise InterruptedError

    with pytest.raises(InterruptedError):
        write_ids(FILES, tmp_path, 0, Position(1, 1), [[1]], no_rest)
    assert ids_in(FILES, tmp_path) == []
    assert not list(tmp_path.iterdir())
