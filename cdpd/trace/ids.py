"""The index by messageId: files that say on which lines of a stream an id may stand. README.md: “On disk”.

A file covers the lines [first, end) of one stream. It holds hashes, so a hit is only a place to look at. All of it is
made again where it is missing: nobody is the poorer for a file that is deleted.
"""

from __future__ import annotations

import re
import struct
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Final

import google_crc32c
from msgspec import Struct

from cdpd.event import Position
from cdpd.log.files import Files, ReadableFile
from cdpd.log.frame import crc32c

SUFFIX: Final = ".ids"
NEW_SUFFIX: Final = ".new"
CACHE_TEXT: Final = (
    b"Signature: 8a477f597d28d172789f06886806bc55\n# cdpd makes it of its log, anew where missing.\n"
)
"""What a CACHEDIR.TAG has to say (bford.info/cachedir)."""
_MAGIC: Final = b"CDPI"
_VERSION: Final = 1
_HEADER: Final = struct.Struct(
    "<4sI4QI"
)  # magic, version, first, end, epoch, number of entries, their checksum
_CRC: Final = struct.Struct("<I")
HEADER_BYTES: Final = _HEADER.size + _CRC.size
ENTRY_BYTES: Final = 8
_HASH_BITS: Final = 32
MAX_LINES: Final = 1 << 32
"""Lines of one file, at most: an entry has 32 bits for them."""
_NAME = re.compile(r"(\d{20})-(\d{20})\.ids")
_WINDOW: Final = 1024
"""Entries before and after the place where a hash should stand. Hashes are spread evenly: of 300,000 entries, one
stands more than 1,000 from its place once in 3,000 times."""
_CHUNK: Final = 4096
"""Entries read or written at once: little, as other threads wait meanwhile."""


class BadIds(Exception):
    """This file is no index, or not whole."""


class Ids(Struct, frozen=True, order=True):
    """A file, as its name says: it covers the lines [first, end)."""

    first: int
    end: int
    path: Path

    @property
    def lines(self) -> int:
        return self.end - self.first


def hash_of(message_id: bytes) -> int:
    """32 bits of an id's UTF-8."""
    return int.from_bytes(blake2b(message_id, digest_size=4).digest(), "little")


def ids_path(folder: Path, first: int, end: int) -> Path:
    return folder / f"{first:020d}-{end:020d}{SUFFIX}"


def ids_in(files: Files, folder: Path) -> list[Ids]:
    """The files of a folder by what they cover, the larger of two that begin alike last."""
    return sorted(
        Ids(int(match[1]), int(match[2]), folder / name)
        for name in files.names(folder)
        if (match := _NAME.fullmatch(name))
    )


def nothing() -> None:
    """Where nobody has to be let by."""


def write_ids(
    files: Files,
    folder: Path,
    first: int,
    end: Position,
    buckets: Iterable[Sequence[int]],
    rest: Callable[[], None] = nothing,
) -> Ids:
    """Write a file, whole and durable before it has its name. Raises OSError, and what `rest` raises.

    buckets: entries (`hash << 32 | line - first`), in any order inside of one, but none above one of a later bucket.
    rest: called between pieces of work.
    """
    path = ids_path(folder, first, end.offset)
    temporary = path.with_name(path.name + NEW_SUFFIX)
    count, checksum = 0, 0
    file = files.create(temporary)
    try:
        try:
            file.write(bytes(HEADER_BYTES))
            for entries in _joined(buckets, rest):
                data = struct.pack(f"<{len(entries)}Q", *entries)
                checksum = google_crc32c.extend(checksum, data)
                count += len(entries)
                file.write(data)
                rest()
            head = _HEADER.pack(_MAGIC, _VERSION, first, end.offset, end.epoch, count, checksum)
            files.overwrite(temporary, head + _CRC.pack(crc32c(head)))
            file.sync()
        finally:
            file.close()
        files.rename(temporary, path)
    except BaseException:
        files.remove(temporary)
        raise
    return Ids(first, end.offset, path)


def _joined(buckets: Iterable[Sequence[int]], rest: Callable[[], None]) -> Iterator[list[int]]:
    """Buckets, each in order, in pieces that are worth a write."""
    joined: list[int] = []
    for bucket in buckets:
        joined += sorted(bucket)
        rest()
        if len(joined) >= _CHUNK:
            yield joined
            joined = []
    if joined:
        yield joined


class IdsFile:
    """One file, open. Raises BadIds where it is not what its name says, FileNotFoundError, OSError."""

    def __init__(self, files: Files, ids: Ids) -> None:
        self.ids = ids
        self._file: ReadableFile = files.open(ids.path)
        try:
            head = self._file.read(0, HEADER_BYTES)
            if len(head) < HEADER_BYTES or crc32c(head[:-4]) != _CRC.unpack(head[-4:])[0]:
                raise BadIds(f"{ids.path}: no whole header")
            magic, version, first, end, epoch, self.count, self._checksum = _HEADER.unpack(head[:-4])
            if (magic, version, first, end) != (_MAGIC, _VERSION, ids.first, ids.end):
                raise BadIds(f"{ids.path}: the header is of another file, or of another cdpd")
            if self._file.size() != HEADER_BYTES + self.count * ENTRY_BYTES:
                raise BadIds(f"{ids.path}: it has another length than its header says")
        except BaseException:
            self._file.close()
            raise
        self.position = Position(offset=end, epoch=epoch)
        """Where it ends: it is of this log if that position is (cdpd/log/lineage.py)."""

    def close(self) -> None:
        self._file.close()

    def find(self, hashed: int) -> list[int]:
        """Offsets of the lines that may have an id of this hash, ascending."""
        low, high = hashed << _HASH_BITS, hashed + 1 << _HASH_BITS
        middle = hashed * self.count >> _HASH_BITS
        start, stop = max(middle - _WINDOW, 0), min(middle + _WINDOW, self.count)
        while True:
            entries = self.entries(start, stop)
            before = entries[0] >= low and start > 0 if entries else False
            after = entries[-1] < high and stop < self.count if entries else False
            if not (before or after):
                found = entries[bisect_left(entries, low) : bisect_left(entries, high)]
                return [self.ids.first + (entry & MAX_LINES - 1) for entry in found]
            width = 4 * (stop - start)
            start = max(start - width, 0) if before else start
            stop = min(stop + width, self.count) if after else stop

    def entries(self, start: int, stop: int) -> Sequence[int]:
        """Entries [start, stop)."""
        return struct.unpack(f"<{stop - start}Q", self._read(start, stop))

    def _read(self, start: int, stop: int) -> bytes:
        return self._file.read(HEADER_BYTES + start * ENTRY_BYTES, (stop - start) * ENTRY_BYTES)

    def whole(self, rest: Callable[[], None] = nothing) -> Iterator[Sequence[int]]:
        """All entries in order, in pieces. Raises BadIds at the end where they are not those that were written."""
        checksum = 0
        for start in range(0, self.count, _CHUNK):
            data = self._read(start, min(start + _CHUNK, self.count))
            checksum = google_crc32c.extend(checksum, data)
            rest()
            yield struct.unpack(f"<{len(data) // ENTRY_BYTES}Q", data)
        if checksum != self._checksum:
            raise BadIds(f"{self.ids.path}: its entries do not match their checksum")
