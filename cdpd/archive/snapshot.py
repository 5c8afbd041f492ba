"""A stream's files as they are now, held open: nothing that happens to the stream later reaches who reads them.

Retention may remove a segment, its writer may go on in the last one: the files named here keep the same bytes,
all of them durable, each frame checked against its checksums.
"""

from __future__ import annotations

import mmap
import os
import resource
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Final

from msgspec import Struct

from cdpd.log.errors import Damage, LogError
from cdpd.log.files import Files, OsFiles
from cdpd.log.frame import BadFrame, crc32c
from cdpd.log.mark import Mark, read_mark
from cdpd.log.segment import segment_bases, segment_path, walk

_DESCRIPTORS: Final = Path("/proc/self/fd")
_RESERVE: Final = 200
"""Descriptors left for everything else that opens files while a snapshot is held."""
_TRIES: Final = 10


class Piece(Struct, frozen=True):
    """A file to read: whole frames of durable lines."""

    name: str
    """What to open."""
    path: Path
    """The segment that it is of, for people."""
    longest: int
    """Bytes of its largest frame when expanded: no line is longer."""


@contextmanager
def snapshot(folder: Path, files: Files | None = None) -> Iterator[list[Piece]]:
    """The pieces of a stream in order, readable inside the `with`; none where nothing is stored.

    Raises Damage where a frame is not what was written, LogError where there is no durable mark.
    """
    files = files or OsFiles()
    with ExitStack() as stack:
        for _ in range(_TRIES):
            with ExitStack() as attempt:
                mark = read_mark(files, folder)
                try:
                    pieces = list(_pieces(folder, files, mark, attempt))
                except FileNotFoundError:
                    continue  # retention was faster: look again
                except Damage:
                    if read_mark(files, folder) != mark:
                        continue  # the writer was: what was looked at is no longer there
                    raise
                stack.push(attempt.pop_all())
                yield pieces
                return
    raise LogError(f"{folder}: segments go as fast as they are opened; try again")


def _pieces(folder: Path, files: Files, mark: Mark | None, stack: ExitStack) -> Iterator[Piece]:
    bases = segment_bases(files, folder)
    if mark is None:
        if not bases:
            return
        raise LogError(f"{folder} has segments but no durable mark: start the daemon once to recover it")
    bases = [base for base in bases if base <= mark.segment]
    if mark.size and mark.segment not in bases:
        raise Damage(segment_path(folder, mark.segment), 0, "the segment is missing", mark.segment)
    ends = dict(pairwise([*bases, mark.end]))
    held = _Held(stack)
    for base in bases:
        piece = _piece(folder, base, ends[base], mark, held)
        if piece is not None:
            yield piece


def _piece(folder: Path, base: int, end: int, mark: Mark, held: _Held) -> Piece | None:
    path = segment_path(folder, base)
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        live = base == mark.segment
        size = os.fstat(descriptor).st_size
        limit = mark.size if live else size
        if size < limit:
            raise Damage(path, size, "the file is shorter than what was written", base)
        checked = (
            _check(descriptor, limit, path, base, end, mark.head if live else None)
            if limit
            else _Checked(0, 0)
        )
        if not checked.bytes:
            return None
        # A live segment grows; a sealed one may have a void tail.
        whole = not live and checked.bytes == size
        name = held.hold(descriptor, path) if whole else held.copy(descriptor, checked.bytes)
        return Piece(name, path, checked.longest)
    finally:
        os.close(descriptor)


class _Checked(Struct, frozen=True):
    bytes: int
    longest: int


def _check(descriptor: int, limit: int, path: Path, base: int, end: int, head: int | None) -> _Checked:
    """Check every frame from `base` to `end`; how many bytes they are. Raises Damage."""
    at, offset, longest = 0, base, 0
    with mmap.mmap(descriptor, limit, access=mmap.ACCESS_READ) as mapped:
        try:
            for place in walk(_Mapped(mapped), limit, path):
                header = place.header
                if offset >= end and header.count:
                    break  # void: what follows is in the next segment
                if not at and head is not None and place.head != head:
                    raise BadFrame("this is not the segment that the durable mark speaks of")
                if header.base != offset:
                    raise BadFrame(f"a frame for offset {header.base} stands where {offset} belongs")
                if crc32c(mapped[place.body_at : place.after]) != header.body_crc:
                    raise BadFrame("the frame's body does not match its checksum")
                at, offset, longest = place.after, header.end, max(longest, header.content_length)
        except BadFrame as error:
            if offset < end:
                raise Damage(path, at, str(error), offset) from None
    if offset < end:
        raise Damage(path, at, f"ends before offset {end}, where the next segment begins", offset)
    return _Checked(at, longest)


class _Mapped:
    """A mapped file, as `walk` reads one."""

    def __init__(self, mapped: mmap.mmap) -> None:
        self._mapped = mapped

    def read(self, at: int, size: int) -> bytes:
        return self._mapped[at : at + size]

    def size(self) -> int:
        return len(self._mapped)

    def close(self) -> None:
        """Whoever mapped it closes it."""


class _Held:
    """Files kept open, and the names by which they can be opened again as long as they are."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self._room = _room() if _DESCRIPTORS.is_dir() else 0

    def hold(self, descriptor: int, path: Path) -> str:
        """A name that outlives the file's removal, while there is room for one more open file.

        The segments come oldest first, which is how retention takes them: the last ones may go by their paths.
        """
        if self._room <= 0:
            return str(path.resolve())
        self._room -= 1
        kept = os.dup(descriptor)
        self._stack.callback(os.close, kept)
        return str(_DESCRIPTORS / str(kept))

    def copy(self, descriptor: int, size: int) -> str:
        """A name for a copy of the first `size` bytes, which is gone when it is closed."""
        nameless = _DESCRIPTORS.is_dir()
        made = tempfile.TemporaryFile() if nameless else tempfile.NamedTemporaryFile()  # noqa: SIM115
        file = self._stack.enter_context(made)
        at = 0
        while at < size and (piece := os.pread(descriptor, min(size - at, 1 << 20), at)):
            file.write(piece)
            at += len(piece)
        file.flush()
        return str(_DESCRIPTORS / str(file.fileno())) if nameless else str(file.name)


def _room() -> int:
    """How many files may be held; the process's own soft limit is raised as far as it may be."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft != hard:
        wanted = hard if hard != resource.RLIM_INFINITY else 1 << 20
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
            soft = wanted
        except (OSError, ValueError):
            pass  # then it is as many as there were
    return soft - _RESERVE - len(list(_DESCRIPTORS.iterdir()))
