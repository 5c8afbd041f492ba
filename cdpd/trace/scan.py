"""Looking for an id in lines that no index covers: at the speed of `zstd -dc | grep`, whatever the frames' size."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import zstandard
from msgspec import Struct

from cdpd.log.files import Files, ReadableFile
from cdpd.log.scan import Bad, scan
from cdpd.log.segment import segment_path
from cdpd.trace.gather import message_id_of

_CHUNK: Final = 1 << 20
_PLAIN: Final = re.compile(r"[A-Za-z0-9_.:-]{4,}")
"""Characters that nobody writes as escapes, so that such a part of an id stands in the line as it is."""


class Unread(Struct, frozen=True):
    """Lines [first, end) that could not be looked at: they are damaged."""

    first: int
    end: int
    reason: str


class Needle:
    """An id as it may stand in a line of a stream."""

    def __init__(self, stream: str, message_id: str) -> None:
        self._stream = stream
        self._message_id = message_id
        plain = max(_PLAIN.findall(message_id), key=len, default="")
        self.part = plain.encode()
        """Bytes that every line with this id contains; b"" where it could be written in many ways."""

    def is_in(self, line: bytes) -> bool:
        return bool(line) and message_id_of(self._stream, line) == self._message_id


def scan_segment(
    files: Files, folder: Path, base: int, end: int, size: int | None, needle: Needle
) -> Iterator[int | Unread]:
    """Offsets in [base, end), the lines of a segment, where the id stands; and what cannot be read.

    size: bytes of it that count, None: all. Raises FileNotFoundError, OSError.
    """
    path = segment_path(folder, base)
    file = files.open(path)
    try:
        limit = file.size() if size is None else min(size, file.size())
        found: list[int | Unread] = []
        try:
            for offset in _stream(file, limit, base, end, needle):
                found.append(offset)
        except (zstandard.ZstdError, EOFError):
            found = list(_frames(file, path, limit, base, end, size is not None, needle))
        yield from found
    finally:
        file.close()


def _stream(file: ReadableFile, limit: int, base: int, end: int, needle: Needle) -> Iterator[int]:
    """All frames as one stream. Raises ZstdError, EOFError where the lines end too early."""
    reader = zstandard.ZstdDecompressor().stream_reader(
        _Upto(file, limit),  # type: ignore[arg-type]  # of a file it needs `read` alone
        read_size=_CHUNK,
        read_across_frames=True,
    )
    offset, rest = base, b""
    while offset < end:
        chunk = reader.read(_CHUNK)
        if not chunk:
            raise EOFError
        chunk = rest + chunk
        whole = chunk.rfind(b"\n") + 1
        for number in _lines_with(chunk, whole, needle):
            if offset + number < end:  # what follows is void
                yield offset + number
        offset += chunk.count(b"\n", 0, whole)
        rest = chunk[whole:]


def _lines_with(chunk: bytes, whole: int, needle: Needle) -> Iterator[int]:
    """Numbers of the lines of chunk[:whole] that have the id."""
    if not needle.part:
        for number, line in enumerate(chunk[:whole].split(b"\n")):
            if needle.is_in(line):
                yield number
        return
    at = number = counted = 0
    while (at := chunk.find(needle.part, at, whole)) >= 0:
        begin, after = chunk.rfind(b"\n", 0, at) + 1, chunk.find(b"\n", at)
        number += chunk.count(b"\n", counted, begin)
        counted = begin
        if needle.is_in(chunk[begin:after]):
            yield number
        at = after


def _frames(
    file: ReadableFile, path: Path, limit: int, base: int, end: int, live: bool, needle: Needle
) -> Iterator[int | Unread]:
    """Frame by frame, past the damage."""
    for item in scan(file, path, base, end, limit, live=live):
        if isinstance(item, Bad):
            if item.end > item.offset:
                yield Unread(item.offset, item.end, item.reason)
            continue
        for offset, line in enumerate(item.lines, item.place.header.base):
            if needle.part in line and needle.is_in(line):
                yield offset


class _Upto:
    """The first bytes of a file, as a stream."""

    def __init__(self, file: ReadableFile, limit: int) -> None:
        self._file = file
        self._limit = limit
        self._at = 0

    def read(self, size: int = -1) -> bytes:
        left = self._limit - self._at
        data = self._file.read(self._at, left if size < 0 else min(size, left))
        self._at += len(data)
        return data

    def close(self) -> None:
        """Whoever opened the file closes it."""
