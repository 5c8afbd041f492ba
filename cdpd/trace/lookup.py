"""Where in a stream a messageId stands: by its index files, and in what those do not cover by reading."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Final

from msgspec import Struct

from cdpd.config.data_folder import ids_folder, stream_folder
from cdpd.log.errors import InvalidCursor, LogError, NotRecovered
from cdpd.log.files import Files, OsFiles
from cdpd.log.lineage import check_position, known_lineage
from cdpd.log.mark import Mark, read_mark
from cdpd.log.segment import segment_bases
from cdpd.log.single import SingleLine, single_line
from cdpd.trace.gather import message_id_of
from cdpd.trace.ids import BadIds, IdsFile, hash_of, ids_in
from cdpd.trace.scan import Needle, Unread, scan_segment

_TRIES: Final = 5
FIRST: Final = 10
LAST: Final = 40
"""Of very many lines with one id (a client that gives all its events the same) these are read."""


class Looked(Struct):
    """What looking for an id in the lines [first, end) of a stream came to."""

    stream: str
    first: int
    end: int
    hits: list[SingleLine]
    unread: list[Unread]
    """Lines that could not be looked at."""
    more: int = 0
    """Lines between the first and the last ones that are left out."""
    scanned: int = 0
    """Lines that had to be read, since no index covers them (yet)."""


class Lookup:
    """Looks into one stream of a data folder, whether a daemon runs on it or not."""

    def __init__(self, data_dir: Path, stream: str, files: Files | None = None) -> None:
        self.stream = stream
        self._files = files or OsFiles()
        self._folder = stream_folder(data_dir, stream)
        self._ids = ids_folder(data_dir, stream)

    def line(self, offset: int) -> SingleLine:
        """The line at an offset. Raises NoLongerKept, Damage, NotRecovered, NewerFormat, IndexError."""
        return single_line(self._files, self._folder, offset)

    def find(
        self,
        message_id: str,
        first: int = 0,
        end: int | None = None,
        telling: Callable[[int], None] = lambda _: None,
    ) -> Looked:
        """Every line of [first, end) with that id. `telling`: told how many lines have to be read, before they are.

        Raises NotRecovered, NewerFormat, OSError.
        """
        for attempt in range(_TRIES):
            try:
                return self._find(message_id, first, end, telling)
            except FileNotFoundError:  # retention, recompression or the indexer was faster: look again
                if attempt == _TRIES - 1:
                    raise
        raise AssertionError("not reached")

    def _find(self, message_id: str, first: int, end: int | None, telling: Callable[[int], None]) -> Looked:
        mark = read_mark(self._files, self._folder)
        bases = segment_bases(self._files, self._folder)
        if mark is None:
            if bases:
                raise NotRecovered(f"{self._folder} has no durable mark: start the daemon once to recover it")
            return Looked(self.stream, 0, 0, [], [])
        bases = [base for base in bases if base <= mark.segment]
        begin = bases[0] if bases else mark.end
        first, end = max(first, begin), mark.end if end is None else min(end, mark.end)
        looked = Looked(self.stream, first, max(first, end), [], [])
        if first >= end:
            return looked
        candidates, covered = self._indexed(message_id, first, end, mark, bases)
        gaps = [
            (base, stop)
            for base, stop in pairwise([*bases, mark.end])
            if base < end and stop > first and not _within(max(base, first), min(stop, end), covered)
        ]
        looked.scanned = sum(stop - base for base, stop in gaps)
        if looked.scanned:
            telling(looked.scanned)
        needle = Needle(self.stream, message_id)
        for base, stop in gaps:
            size = mark.size if base == mark.segment else None
            for found in scan_segment(self._files, self._folder, base, stop, size, needle):
                if isinstance(found, Unread):
                    looked.unread.append(found)
                elif first <= found < end:
                    candidates.append(found)
        offsets = sorted(set(candidates))
        if len(offsets) > FIRST + LAST:
            looked.more = len(offsets) - FIRST - LAST
            offsets = offsets[:FIRST] + offsets[-LAST:]
        for offset in offsets:
            try:
                line = self.line(offset)
            except LogError as error:
                looked.unread.append(Unread(offset, offset + 1, str(error)))
                continue
            if line.text and message_id_of(self.stream, line.text) == message_id:
                looked.hits.append(line)
        return looked

    def _indexed(
        self, message_id: str, first: int, end: int, mark: Mark, bases: Sequence[int]
    ) -> tuple[list[int], list[tuple[int, int]]]:
        """Offsets where the id may stand by the index, and the ranges that it covers, in order."""
        hashed = hash_of(message_id.encode(errors="replace"))
        lineage = known_lineage(self._files, self._folder, bases)
        candidates: list[int] = []
        covered: list[tuple[int, int]] = []
        for ids in ids_in(self._files, self._ids):
            if ids.end <= first or ids.first >= end:
                continue
            try:
                file = IdsFile(self._files, ids)
            except BadIds:
                continue
            try:
                check_position(file.position, lineage, mark, self._folder)
                candidates += [offset for offset in file.find(hashed) if first <= offset < end]
                covered.append((ids.first, ids.end))
            except InvalidCursor:
                continue  # of another history of the log: it is read instead
            finally:
                file.close()
        return candidates, list(_joined(covered))


def _joined(ranges: Sequence[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Ranges as few: those that touch or overlap become one."""
    begin = end = -1
    for first, stop in sorted(ranges):
        if first > end:
            if end > begin:
                yield begin, end
            begin, end = first, stop
        end = max(end, stop)
    if end > begin:
        yield begin, end


def _within(first: int, end: int, covered: Sequence[tuple[int, int]]) -> bool:
    return any(begin <= first and end <= stop for begin, stop in covered)
