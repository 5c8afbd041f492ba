"""The index of a sealed segment: where offsets and times stand in it. A convenience: rebuilt when missing."""

from __future__ import annotations

from bisect import bisect_right
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

from cdpd.log.files import Files
from cdpd.log.frame import BadFrame, crc32c
from cdpd.log.segment import Place, segment_path, walk

_SPACING: Final = 256 * 1024
"""Compressed bytes between two entries."""


class Entry(Struct, frozen=True, array_like=True):
    """A frame's first offset, its first byte in the segment, and the log time of the frame before it."""

    offset: int
    at: int
    before_ms: int


class Index(Struct, frozen=True):
    """Index of one sealed segment."""

    base: int
    end: int
    bytes: int
    """Bytes that count: a sealed file may have a void tail."""
    first_ms: int
    last_ms: int
    entries: list[Entry]

    def seek(self, offset: int) -> Entry:
        """The last entry at or before `offset`."""
        return self.entries[max(bisect_right(self.entries, offset, key=lambda e: e.offset) - 1, 0)]

    def seek_time(self, ms: int) -> Entry:
        """An entry at or before the first frame whose last log time is `ms` or later."""
        return self.entries[max(bisect_right(self.entries, ms - 1, key=lambda e: e.before_ms) - 1, 0)]


class IndexBuilder:
    """Collects an index while a segment is being written or walked."""

    def __init__(self, base: int) -> None:
        self._base = base
        self._entries: list[Entry] = []
        self._first_ms = 0
        self._last_ms = 0
        self._end = base
        self._bytes = 0

    @property
    def started(self) -> bool:
        return bool(self._entries)

    def add(self, place: Place) -> None:
        header = place.header
        if self._end == self._base and header.count:  # frames without lines say nothing about lines
            self._first_ms = header.first_ms
        if not self._entries or place.at >= self._entries[-1].at + _SPACING:
            self._entries.append(Entry(header.base, place.at, self._last_ms))
        self._last_ms = header.last_ms
        self._end = header.end
        self._bytes = place.after

    def build(self) -> Index:
        return Index(self._base, self._end, self._bytes, self._first_ms, self._last_ms, self._entries)


def index_path(folder: Path, base: int) -> Path:
    return folder / f"{base:020d}.idx"


def write_index(files: Files, folder: Path, index: Index) -> None:
    """Store an index beside its segment; unsynced, as it can be made again. May raise OSError."""
    data = msgspec.json.encode(index)
    file = files.create(index_path(folder, index.base))
    try:
        file.write(b"%08x\n%s\n" % (crc32c(data), data))
    finally:
        file.close()


def load_index(files: Files, folder: Path, base: int) -> Index | None:
    """The stored index, or None where it is missing or not whole."""
    stored = files.read_all(index_path(folder, base))
    if stored is None:
        return None
    try:
        data = stored[9:-1]
        if stored != b"%08x\n%s\n" % (crc32c(data), data):
            return None
        index = msgspec.json.decode(data, type=Index)
    except msgspec.MsgspecError:
        return None
    return index if index.base == base and index.entries else None


def drop_misfit(files: Files, folder: Path, base: int, next_base: int, size: int) -> None:
    """Remove a stored index that cannot be this segment's, of `size` bytes: it was never synced. Raises OSError."""
    index = load_index(files, folder, base)
    if index is None or index.end != next_base or index.bytes > size:
        files.remove(index_path(folder, base))


def build_index(
    files: Files, folder: Path, base: int, next_base: int, size: int | None = None
) -> Index | None:
    """Walk a segment's headers up to the next segment's base; None where not one can be read.

    `size`: how many bytes of it are durable, for the live one.
    """
    path = segment_path(folder, base)
    builder = IndexBuilder(base)
    try:
        file = files.open(path)
    except FileNotFoundError:
        return None
    try:
        for place in walk(file, file.size() if size is None else min(size, file.size()), path):
            if place.header.base >= next_base and builder.started and size is None:
                break
            builder.add(place)
    except BadFrame:
        pass  # what could be read is indexed; readers name the damage when they come to it
    finally:
        file.close()
    index = builder.build()
    return index if index.entries else None


def sealed_index(files: Files, folder: Path, base: int, next_base: int) -> Index | None:
    """The index of a sealed segment, stored or rebuilt."""
    index = load_index(files, folder, base)
    if index is not None and index.end == next_base:
        return index
    return build_index(files, folder, base, next_base)
