"""Making index files: of the lines of a segment, and of several smaller files that follow one another."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Raw, Struct

from cdpd.event import Position
from cdpd.log.errors import InvalidCursor
from cdpd.log.files import Files
from cdpd.log.folder import StreamFolder
from cdpd.trace.ids import Ids, IdsFile, hash_of, nothing, write_ids

_BUCKET_BITS: Final = 10
_BUCKETS: Final = 1 << _BUCKET_BITS
"""Entries are sorted in so many pieces: sorting all at once would hold up every other thread."""
_TURN: Final = 64
"""Lines looked at before others get their turn."""
FAN: Final = 8
"""So many files of about one size become one …"""
MOST_LINES: Final = 4 << 20
"""… of at most this many lines."""
_SMALLEST: Final = 8192
"""Lines of a file of the lowest level; the next ones are FAN times as large."""


class _Line(Struct, rename="camel", frozen=True):
    message_id: Raw = Raw()


class _Discarded(Struct):
    line: _Line = _Line()


_decode: Final = msgspec.json.Decoder(_Line).decode
_decode_discarded: Final = msgspec.json.Decoder(_Discarded).decode
_decode_string: Final = msgspec.json.Decoder(str).decode


def message_id_of(stream: str, line: bytes) -> str | None:
    """The messageId of a line of that stream; None where it has none (a hole, a line that was no event)."""
    try:
        raw = _decode_discarded(line).line.message_id if stream == "discarded" else _decode(line).message_id
        return _decode_string(raw)
    except (msgspec.DecodeError, RecursionError):
        return None


def gather(
    files: Files, stream: Path, folder: Path, base: int, end: int, rest: Callable[[], None] = nothing
) -> Ids | None:
    """Index the lines [base, end) of a stream's folder, those of one segment, in a file in `folder`.

    None where they are gone. Raises Damage: then whoever looks for an id reads them, past the damage. Raises OSError,
    and what `rest`, called between pieces of work, raises.
    """
    buckets = [array("Q") for _ in range(_BUCKETS)]
    shift = 64 - _BUCKET_BITS
    name, epoch = stream.name, 0
    stored = StreamFolder(stream, files)
    reader = stored.reader(stored.at_offset(base))
    at = base
    try:
        while at < end:
            piece = reader.read(max_lines=1)
            if piece is None:
                return None
            for frame in piece.frames:
                if frame.base != at or frame.base + frame.count > end:
                    return None  # retention was faster
                at = frame.base + frame.count
                for start in range(0, len(frame.lines), _TURN):
                    for number, line in enumerate(
                        frame.lines[start : start + _TURN], frame.base - base + start
                    ):
                        message_id = message_id_of(name, line) if line else None
                        if message_id is not None:
                            entry = hash_of(message_id.encode()) << 32 | number
                            buckets[entry >> shift].append(entry)
                    rest()
                epoch = frame.epoch
    except InvalidCursor:
        return None  # likewise
    finally:
        reader.close()
    return write_ids(files, folder, base, Position(end, epoch), buckets, rest)


def to_merge(present: Sequence[Ids]) -> Sequence[Ids] | None:
    """Files (in order, none overlapping) that should become one: FAN neighbours, none larger than their level."""
    level = _SMALLEST
    while level < MOST_LINES:
        row: list[Ids] = []
        for ids in present:
            if ids.lines > level or (row and row[-1].end != ids.first):
                row = []
            if ids.lines <= level and (not row or row[-1].end == ids.first):
                row.append(ids)
            if len(row) == FAN:
                return row
        level *= FAN
    return None


def merge(files: Files, folder: Path, parts: Sequence[Ids], rest: Callable[[], None] = nothing) -> Ids:
    """One file of several that follow one another; the caller removes those. Raises BadIds, OSError."""
    with ExitStack() as stack:
        opened = [IdsFile(files, ids) for ids in parts]
        for one in opened:
            stack.callback(one.close)
        first = parts[0].first
        running = [_Running(one, one.ids.first - first, rest) for one in opened]
        shift = 64 - _BUCKET_BITS

        def buckets() -> Iterator[Sequence[int]]:
            for number in range(_BUCKETS):
                limit = number + 1 << shift
                bucket: list[int] = []
                for one in running:
                    one.take(limit, bucket)
                yield bucket

        return write_ids(files, folder, first, opened[-1].position, buckets(), rest)


class _Running:
    """The entries of one file, taken in order; `further`: how much later its first line is in the new file."""

    def __init__(self, file: IdsFile, further: int, rest: Callable[[], None]) -> None:
        self._pieces = file.whole(rest)
        self._piece: Sequence[int] = ()
        self._at = 0
        self._further = further

    def take(self, limit: int, into: list[int]) -> None:
        """Those below `limit`."""
        while True:
            if self._at == len(self._piece):
                self._piece, self._at = next(self._pieces, ()), 0
                if not self._piece:
                    return
            stop = bisect_left(self._piece, limit, self._at)
            further = self._further
            into.extend([entry + further for entry in self._piece[self._at : stop]])
            self._at = stop
            if stop < len(self._piece):
                return
