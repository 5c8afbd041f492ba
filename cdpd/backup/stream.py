"""Copying one stream up to its durable mark, while it is written: only what the copy does not have yet.

Segments are only ever appended to, or replaced as a whole (recompression, repair): a first frame that is the same
and a place in the file that has the same bytes tell the one from the other.
"""

from __future__ import annotations

import os
from itertools import pairwise
from pathlib import Path
from typing import Final

from msgspec import Struct, structs

from cdpd.backup.files import Progress, copy_rest, copy_whole, make_folder, sync_folder, write_file
from cdpd.log.errors import InvalidCursor, LogError
from cdpd.log.files import OsFiles, ReadableFile
from cdpd.log.frame import BadFrame
from cdpd.log.lineage import check_position, known_lineage
from cdpd.log.mark import NAME as MARK
from cdpd.log.mark import Mark, read_mark
from cdpd.log.segment import Place, read_place, segment_bases, segment_path, walk

_TRIES: Final = 20
_SAME: Final = 256
"""Bytes at the end of what the copy has that are compared."""


class Copied(Struct, frozen=True):
    """What the copy of a stream holds now, and which segments are new or changed in it."""

    begin: int
    end: int
    changed: list[int]


class Moved(Exception):
    """The stream changed under the copy: look again."""


def copy_stream(source: Path, target: Path, progress: Progress, until: int | None = None) -> Copied:
    """Copy a stream; `until`: leave out lines from there on, where the log's frames allow that.

    Raises LogError where it cannot be copied, or the target is a copy of another log; OSError.
    """
    make_folder(target)
    for _ in range(_TRIES):
        mark = read_mark(OsFiles(), source)
        if mark is None:
            if segment_bases(OsFiles(), source):
                raise LogError(
                    f"{source} has no durable mark: start the daemon once, or see `cdpd log verify`"
                )
            return Copied(0, 0, [])
        _check_same_log(source, mark, target)
        try:
            return _Copy(
                source, target, mark if until is None else _mark_at(source, mark, until), progress
            ).run()
        except (FileNotFoundError, Moved):
            continue  # retention or recompression was faster
    raise LogError(f"{source}: it changes faster than it can be copied; try again")


def _check_same_log(source: Path, mark: Mark, target: Path) -> None:
    had = read_mark(OsFiles(), target)
    bases = [base for base in segment_bases(OsFiles(), source) if base <= mark.segment]
    begin = bases[0] if bases else mark.end
    if had is None or had.end <= begin:
        return  # nothing, or only what the source does not keep any more
    try:
        check_position(had.position, known_lineage(OsFiles(), source, bases), mark, source)
    except InvalidCursor:
        raise LogError(
            f"{target} is the copy of another log, or of this one before it was restored from an older backup; "
            "choose an empty folder"
        ) from None


def _mark_at(source: Path, mark: Mark, end: int) -> Mark:
    """The mark as it was when the stream ended at `end`; where no frame ends there (any more), as it is."""
    if end >= mark.end:
        return mark
    files = OsFiles()
    bases = [base for base in segment_bases(files, source) if base <= mark.segment]
    base = max((base for base in bases if base <= end), default=None)
    if base is None:
        return mark
    path = segment_path(source, base)
    file = files.open(path)
    try:
        last: Place | None = None
        opening = read_place(file, 0, file.size(), path)
        for place in walk(file, mark.size if base == mark.segment else file.size(), path):
            if place.header.end > end:
                break
            last = place
    except BadFrame:
        return mark
    finally:
        file.close()
    if last is None or last.header.end != end:
        return mark
    return structs.replace(
        mark,
        epoch=last.header.epoch,
        end=end,
        segment=base,
        size=last.after,
        last_frame=last.at,
        last_ms=last.header.last_ms,
        head=opening.head,
    )


class _Copy:
    """One attempt."""

    def __init__(self, source: Path, target: Path, mark: Mark, progress: Progress) -> None:
        self._source = source
        self._target = target
        self._mark = mark
        self._progress = progress
        self._files = OsFiles()
        self._changed: list[int] = []

    def run(self) -> Copied:
        mark, files, target = self._mark, self._files, self._target
        bases = [base for base in segment_bases(files, self._source) if base <= mark.segment]
        if mark.size and (not bases or bases[-1] != mark.segment):
            raise LogError(
                f"{segment_path(self._source, mark.segment)} is missing: see `cdpd log verify`; nothing was copied"
            )
        # The newest last: what is copied later reaches further, never less far.
        for base, _ in pairwise([*bases, mark.end]):
            self._segment(base)
        for base in set(segment_bases(files, target)) - set(bases):
            segment_path(target, base).unlink()
        for name in files.names(target):
            if name.endswith((".idx", ".new")):
                (target / name).unlink()
        sync_folder(target)
        write_file(target / MARK, mark.encode())
        sync_folder(target)
        return Copied(bases[0] if bases else mark.end, mark.end, self._changed)

    def _segment(self, base: int) -> None:
        path, copy = segment_path(self._source, base), segment_path(self._target, base)
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            size, live = os.fstat(fd).st_size, base == self._mark.segment
            head = _head(_Open(fd, size), path)
            if live:
                if head != self._mark.head or size < self._mark.size:
                    raise Moved  # it was sealed and recompressed meanwhile
                size = self._mark.size
            have = self._have(copy, fd, size, head)
            if have is None:
                copy_whole(fd, size, copy, self._progress)
            elif have < size:
                copy_rest(fd, size, copy, self._progress)
            else:
                return
            self._changed.append(base)
        finally:
            os.close(fd)

    def _have(self, copy: Path, source: int, size: int, head: int | None) -> int | None:
        """How many bytes the copy has of this very file; None where it has another, or none."""
        try:
            fd = os.open(copy, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        try:
            have = os.fstat(fd).st_size
            at = max(have - _SAME, 0)
            if have > size or head is None or _head(_Open(fd, have), copy) != head:
                return None
            return have if os.pread(fd, _SAME, at) == os.pread(source, have - at, at) else None
        finally:
            os.close(fd)


class _Open:
    """An open descriptor, as the log reads files."""

    def __init__(self, fd: int, size: int) -> None:
        self._fd = fd
        self._size = size

    def read(self, at: int, size: int) -> bytes:
        return os.pread(self._fd, size, at)

    def size(self) -> int:
        return self._size

    def close(self) -> None:
        """Whoever opened it closes it."""


def _head(file: ReadableFile, path: Path) -> int | None:
    """The checksum of a segment's first header; None where that is damaged."""
    try:
        return read_place(file, 0, file.size(), path).head
    except BadFrame:
        return None
