"""Files as bytes → lines: gzip and zstd of any number of members, what breaks off, lines without end."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator

import pytest
import zstandard

from cdpd.bring.unpack import Unreadable, lines, unpacked

TEXT = b"".join(b'{"n":%d}\n' % i for i in range(5000))


def pieces(data: bytes, size: int) -> Iterator[bytes]:
    return (data[start : start + size] for start in range(0, len(data), size))


def zstd(data: bytes) -> bytes:
    return zstandard.ZstdCompressor(write_checksum=True).compress(data)


SKIPPABLE = b"\x50\x2a\x4d\x18" + (3).to_bytes(4, "little") + b"abc"


@pytest.mark.parametrize("size", [1, 7, 4096, 1 << 20])
@pytest.mark.parametrize(
    "stored",
    [
        TEXT,
        gzip.compress(TEXT),
        gzip.compress(TEXT[:1000]) + gzip.compress(TEXT[1000:]),
        gzip.compress(TEXT) + b"\0" * 512,
        zstd(TEXT),
        SKIPPABLE + zstd(TEXT[:1000]) + SKIPPABLE + zstd(TEXT[1000:]),
    ],
    ids=["plain", "gzip", "gzip members", "padded gzip", "zstd", "a segment of cdpd"],
)
def test_what_is_inside_is_told_by_the_first_bytes(stored: bytes, size: int) -> None:
    assert b"".join(unpacked(pieces(stored, size))) == TEXT


@pytest.mark.parametrize("stored", [b"", gzip.compress(b"")])
def test_an_empty_file_has_no_lines(stored: bytes) -> None:
    assert list(lines(unpacked(pieces(stored, 100)))) == []


@pytest.mark.parametrize("compress", [gzip.compress, zstd])
def test_data_that_breaks_off_gives_its_whole_lines_and_then_says_so(compress: object) -> None:
    noise = b"".join(zlib.crc32(b"%d" % i).to_bytes(4, "big").hex().encode() + b"\n" for i in range(100_000))
    stored = compress(noise)  # type: ignore[operator]
    found = lines(unpacked(pieces(stored[: len(stored) // 2], 4096)))
    read: list[bytes | None] = []
    with pytest.raises(Unreadable, match="ends too early: the file is not whole"):
        read.extend(found)
    assert read


@pytest.mark.parametrize("stored", [gzip.compress(TEXT), zstd(TEXT)])
def test_damaged_data_is_told(stored: bytes) -> None:
    broken = stored[:40] + b"\xff\x00\xff\x00" + stored[44:]
    with pytest.raises(Unreadable, match="data is damaged"):
        list(unpacked(pieces(broken, 4096)))


@pytest.mark.parametrize(
    ("start", "what"), [(b"PK\x03\x04....", "zip archive"), (b"PAR1....", "Parquet"), (b"BZh9....", "bzip2")]
)
def test_other_formats_are_named_with_a_way_out(start: bytes, what: str) -> None:
    with pytest.raises(Unreadable, match=what):
        list(unpacked([start]))


def test_a_line_without_end_is_passed_over_in_bounded_memory() -> None:
    data = b"a\n" + b"x" * 5000 + b"\nb\n" + b"y" * 5000
    assert list(lines(pieces(data, 100), limit=1000)) == [b"a", None, b"b", None]


def test_the_last_line_needs_no_line_break() -> None:
    assert list(lines([b"a\n\nb"])) == [b"a", b"", b"b"]
