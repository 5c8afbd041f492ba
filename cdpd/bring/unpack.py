"""Bytes of a file as they come → its lines: gzip and zstd told by their first bytes, memory bounded.

Works on pieces, so that a file may be of any size. Files of several gzip members or zstd frames are read whole.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Final

import zstandard

MAX_LINE: Final = 8 * 1024 * 1024
"""Bytes of a line; of a longer one only its end is looked for."""
_PIECE: Final = 256 * 1024
"""Bytes that are unpacked at a time."""
_ZSTD_INPUT: Final = 8 * 1024
"""zstd says at no time how much will come out; so little goes in that it is bounded."""
_GZIP: Final = b"\x1f\x8b"
_ZSTD: Final = b"\x28\xb5\x2f\xfd"
_ZSTD_SKIPPABLE: Final = b"\x2a\x4d\x18"
_OTHERS: Final = {
    b"PK\x03\x04": "a zip archive: unzip it first",
    b"BZh": "bzip2: pipe it in with `bzip2 -dc FILE | cdpd import -`",
    b"\xfd7zXZ": "xz: pipe it in with `xz -dc FILE | cdpd import -`",
    b"PAR1": "a Parquet file: write it as NDJSON first (DuckDB: copy (from 'FILE') to 'events.ndjson')",
}


class Unreadable(Exception):
    """A file that cannot be read, or not to its end; the text says why."""


def unpacked(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """The content of a file, decompressed where need be. Raises Unreadable."""
    source = iter(pieces)
    first = b""
    while len(first) < 6:
        piece = next(source, None)
        if piece is None:
            break
        first += piece
    whole = chain((first,), source)
    for magic, what in _OTHERS.items():
        if first.startswith(magic):
            raise Unreadable(f"this is {what}")
    if first.startswith(_GZIP):
        return _gunzipped(whole)
    if first.startswith(_ZSTD) or (first[1:4] == _ZSTD_SKIPPABLE and first[0] & 0xF0 == 0x50):
        return _zstd_decompressed(whole)
    return whole


def _gunzipped(pieces: Iterable[bytes]) -> Iterator[bytes]:
    engine = zlib.decompressobj(31)
    begun = False
    for piece in pieces:
        data = piece
        while data:
            if engine.eof:
                data = data.lstrip(b"\0")  # padding between members
                if not data:
                    break
                engine, begun = zlib.decompressobj(31), False
            begun = True
            try:
                out = engine.decompress(data, _PIECE)
            except zlib.error as error:
                raise Unreadable(f"the gzip data is damaged ({error})") from None
            if out:
                yield out
            data = engine.unused_data if engine.eof else engine.unconsumed_tail
    if begun and not engine.eof:
        raise Unreadable("the gzip data ends too early: the file is not whole")


def _zstd_decompressed(pieces: Iterable[bytes]) -> Iterator[bytes]:
    decompressor = zstandard.ZstdDecompressor()
    engine = decompressor.decompressobj()
    begun = False
    for piece in pieces:
        for start in range(0, len(piece), _ZSTD_INPUT):
            data = piece[start : start + _ZSTD_INPUT]
            while data:
                if engine.eof:
                    engine, begun = decompressor.decompressobj(), False
                begun = True
                try:
                    out = engine.decompress(data)
                except zstandard.ZstdError as error:
                    raise Unreadable(f"the zstd data is damaged ({error})") from None
                if out:
                    yield out
                data = engine.unused_data if engine.eof else b""
    if begun and not engine.eof:
        raise Unreadable("the zstd data ends too early: the file is not whole")


def lines(pieces: Iterable[bytes], limit: int = MAX_LINE) -> Iterator[bytes | None]:
    """The lines without their `\\n`; None for one of more than `limit` bytes, which is passed over."""
    waiting: list[bytes] = []
    size = 0
    dropping = False
    for piece in pieces:
        *ended, rest = piece.split(b"\n")
        for end in ended:
            size += len(end)
            if dropping or size > limit:
                yield None
            else:
                waiting.append(end)
                yield b"".join(waiting) if len(waiting) > 1 else end
            waiting, size, dropping = [], 0, False
        if rest:
            size += len(rest)
            if dropping or size > limit:
                waiting, dropping = [], True
            else:
                waiting.append(rest)
    if dropping:
        yield None
    elif waiting:
        yield b"".join(waiting)
