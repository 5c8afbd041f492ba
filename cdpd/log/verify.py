"""Verifying a stream: everything durable is read and checked; each damage is named with file, byte and offset."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final, Literal

from msgspec import Struct

from cdpd.log.files import Files, ReadableFile
from cdpd.log.frame import CONTINUES, BadFrame, Cursor
from cdpd.log.index import IndexBuilder, index_path, load_index
from cdpd.log.lineage import known_lineage
from cdpd.log.lock import NAME as LOCK
from cdpd.log.mark import NAME as MARK
from cdpd.log.mark import Mark, read_mark
from cdpd.log.scan import Bad, scan
from cdpd.log.segment import Place, read_place, segment_bases, segment_path

DAMAGED_SUFFIX: Final = ".damaged"
"""Of files that hold damaged bytes, kept by a repair."""
_OURS: Final = re.compile(r"\d{20}\.(?:ndjson\.zst|idx)|.+\.(?:new|cut|damaged)")
Kind = Literal["damage", "wrong", "note"]


class Finding(Struct, frozen=True):
    """Something that is not as it was written, and where."""

    path: Path
    reason: str
    at: int | None = None
    """Bytes [at, after) of the file are concerned; None: the file as a whole."""
    after: int | None = None
    offset: int | None = None
    end: int | None = None
    """Lines [offset, end) cannot be read."""
    kind: Kind = "damage"
    """damage: readers stop here. wrong: everything can be read, but somebody should look. note: harmless."""

    @property
    def lost(self) -> int:
        """How many lines cannot be read."""
        return 0 if self.offset is None or self.end is None else self.end - self.offset

    def __str__(self) -> str:
        where = "" if self.at is None else f", byte {self.at} (offset {self.offset})"
        lost = f"; {self.lost:,} lines from there on cannot be read" if self.lost > 1 else ""
        return f"{self.path}{where}: {self.reason}{lost}"


class Verified(Struct):
    """What a `verify` has counted, once it is through."""

    lines: int = 0
    holes: int = 0
    aside: int = 0
    """Files that hold what was set aside (`*.cut`, `*.damaged`)."""


def verify(
    files: Files, folder: Path, first: int = 0, last: int | None = None, verified: Verified | None = None
) -> Iterator[Finding]:
    """Everything that is wrong with a stream, in order; segments without a line of [first, last) are left out.

    The folder may be in use: what retention removes meanwhile, or the daemon is about to publish, is no finding.
    Raises NewerFormat, OSError.
    """
    verified = verified or Verified()
    yield from _folder(files, folder, verified)
    mark = read_mark(files, folder)
    bases = segment_bases(files, folder)
    if mark is None:
        if bases or MARK in files.names(folder):
            reason = "missing or not whole; the daemon's next start makes it again"
            yield Finding(folder / MARK, reason, kind="damage")
    else:
        for base in bases:
            if mark.segment < base < mark.end:
                reason = f"a segment that the durable mark does not know, though it says that {mark.end} is the end"
                yield Finding(segment_path(folder, base), reason, 0, 0, base)
        bases = [base for base in bases if base <= mark.segment]
        if mark.size and mark.segment not in bases:
            path = segment_path(folder, mark.segment)
            yield Finding(path, "the segment is missing", 0, 0, mark.segment, mark.end)
    before = _Before()
    ends: list[int | None] = [*bases[1:], None if mark is None else mark.end]
    if mark is not None and mark.segment not in bases:
        ends[-1] = mark.segment
    for base, end in zip(bases, ends, strict=False):
        if (end is None or end > first) and (last is None or base < last):
            live = mark if mark is not None and base == mark.segment else None
            yield from _Segment(files, folder, base, end, live, before, verified).findings()


def _folder(files: Files, folder: Path, verified: Verified) -> Iterator[Finding]:
    """Files that are not the stream's, and rights that others have."""
    bases = segment_bases(files, folder)
    orphans = {index_path(folder, base).name for base in bases}
    for name in ("", *sorted(files.names(folder))):
        path = folder / name if name else folder
        verified.aside += name.endswith((".cut", DAMAGED_SUFFIX))
        if name and name not in (MARK, LOCK) and not _OURS.fullmatch(name):
            yield Finding(path, "not a file of this stream; nothing here reads it", kind="wrong")
        elif name.endswith(".idx") and name not in orphans:
            yield Finding(path, "an index without its segment", kind="note")
        else:
            try:
                mode = files.mode(path)
            except FileNotFoundError:
                continue  # removed meanwhile
            if mode & 0o077:
                reason = (
                    f"others than its owner have rights to it (mode {mode:04o}; chmod go= takes them away)"
                )
                yield Finding(path, reason, kind="wrong")


class _Before(Struct):
    """What the frames so far say."""

    last_ms: int = 0
    cursor: Cursor | None = None


class _Segment:
    """One segment being verified."""

    def __init__(
        self,
        files: Files,
        folder: Path,
        base: int,
        end: int | None,
        live: Mark | None,
        before: _Before,
        verified: Verified,
    ) -> None:
        self._files = files
        self._folder = folder
        self._path = segment_path(folder, base)
        self._base = base
        self._end = end
        self._live = live
        self._before = before
        self._verified = verified
        self._epochs: set[int] | None = None
        self._index = IndexBuilder(base)
        self._starts: dict[int, tuple[int, int]] = {}
        """Byte where a frame begins → its first offset, and the log time before it."""

    def findings(self) -> Iterator[Finding]:
        try:
            file = self._files.open(self._path)
        except FileNotFoundError:
            return  # removed by retention meanwhile
        try:
            size = file.size()
            limit = size if self._live is None else min(self._live.size, size)
            yield from self._frames(file, limit)
        finally:
            file.close()

    def _frames(self, file: ReadableFile, limit: int) -> Iterator[Finding]:
        at, whole, last = 0, True, None
        for item in scan(file, self._path, self._base, self._end, limit, live=self._live is not None):
            if isinstance(item, Bad):
                whole = False
                at, last = item.after, None
                yield Finding(self._path, item.reason, item.at, item.after, item.offset, item.end)
            else:
                last, at = item.place, item.place.after
                self._verified.lines += len(item.lines)
                self._verified.holes += item.lines.count(b"")
                yield from self._frame(last)
        if whole and last is not None and last.header.flags & CONTINUES:
            yield self._finding(at, at, last.header.end, "an append is not whole: its last frame is missing")
        if not whole:
            return
        if self._live is not None:
            yield from self._against_mark(file, self._live)
        elif self._end is not None:
            yield from self._void(file, at, limit)
        if self._end is not None:
            yield from self._stored_index()

    def _frame(self, place: Place) -> Iterator[Finding]:
        header, before = place.header, self._before
        self._starts[place.at] = header.base, self._index_time()
        self._index.add(place)
        at, after, offset = place.at, place.after, header.base
        if at == 0:
            if header.lineage is None:
                yield self._finding(at, after, offset, "the segment's first frame carries no lineage")
            else:
                # A hole where a whole segment was may be of a later start: the newest segment knows all.
                known = known_lineage(self._files, self._folder, segment_bases(self._files, self._folder))
                self._epochs = {start.epoch for start in [*header.lineage, *known]}
        if self._epochs is not None and header.epoch not in self._epochs:
            reason = f"epoch {header.epoch:016x} is not in the segment's lineage"
            yield self._finding(at, after, offset, reason)
        if header.first_ms < before.last_ms or header.last_ms < header.first_ms:
            yield self._finding(at, after, offset, "log time goes back")
        before.last_ms = header.last_ms
        if header.cursor is None:
            return
        newest, cursor = before.cursor, header.cursor
        if newest is not None and (
            cursor.received.offset < newest.received.offset or cursor.discarded < newest.discarded
        ):
            yield self._finding(at, after, offset, "the position in `received` or `discarded` goes back")
        if header.origins and header.origins[-1] >= cursor.received.offset:
            reason = (
                f"a line comes from offset {header.origins[-1]} of `received`, past the frame's own position"
            )
            yield self._finding(at, after, offset, reason)
        before.cursor = cursor

    def _index_time(self) -> int:
        return self._index.build().last_ms

    def _against_mark(self, file: ReadableFile, mark: Mark) -> Iterator[Finding]:
        """What the mark says of the segment, besides its end."""
        try:
            opening = read_place(file, 0, file.size(), self._path)
        except BadFrame:
            return  # told already
        if opening.head != mark.head:
            reason = "the segment's first frame is not the one that the durable mark speaks of"
            yield self._finding(0, opening.after, self._base, reason)
        elif mark.last_frame not in self._starts:
            reason = f"no frame begins at byte {mark.last_frame} of the last segment, as it says"
            yield Finding(self._folder / MARK, reason)

    def _stored_index(self) -> Iterator[Finding]:
        path = index_path(self._folder, self._base)
        data = self._files.read_all(path)
        if data is None:
            return
        made, stored = self._index.build(), load_index(self._files, self._folder, self._base)
        if stored is None:
            yield Finding(path, "the index is not whole; readers do without it", 0, len(data), kind="note")
        elif (stored.end, stored.first_ms) != (made.end, made.first_ms) or not all(
            self._starts.get(entry.at) == (entry.offset, entry.before_ms) for entry in stored.entries
        ):
            reason = "the index does not fit its segment; readers do without it"
            yield Finding(path, reason, 0, len(data), kind="note")

    def _void(self, file: ReadableFile, at: int, limit: int) -> Iterator[Finding]:
        """What follows the last line of a sealed segment: frames without lines, or what a failed write left."""
        while at < limit:
            try:
                place = read_place(file, at, limit, self._path)
            except BadFrame:
                place = None
            if place is None or place.header.count or place.header.base != self._end:
                reason = (
                    f"{limit - at:,} bytes that do not count: left by a write that failed, or changed since"
                )
                yield Finding(self._path, reason, at, limit, self._end, kind="note")
                return
            at = place.after

    def _finding(self, at: int, after: int, offset: int, reason: str) -> Finding:
        return Finding(self._path, reason, at, after, offset)
