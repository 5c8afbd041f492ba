"""Verifying a stream: everything durable is read and checked; each damage is named with file, byte and offset."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path

from cdpd.log.files import Files, ReadableFile
from cdpd.log.frame import CONTINUES, BadFrame, Codec
from cdpd.log.mark import Mark, read_mark
from cdpd.log.segment import Place, read_lines, read_place, segment_bases, segment_path


def verify(files: Files, folder: Path) -> Iterator[str]:
    """Texts, one a damage. Raises NewerFormat, OSError."""
    mark = read_mark(files, folder)
    bases = segment_bases(files, folder)
    if mark is None:
        if bases:
            yield f"{folder / 'mark'}: missing or not whole; the daemon's next start makes it again"
        return
    bases = [base for base in bases if base <= mark.segment]
    if mark.size and mark.segment not in bases:
        yield f"{segment_path(folder, mark.segment)}, byte 0 (offset {mark.segment}): the segment is missing"
    before_ms = 0
    for base, following in zip_longest(bases, bases[1:]):
        walk = _Walk(files, folder, base, following, mark, before_ms)
        yield from walk.findings()
        before_ms = walk.last_ms


class _Walk:
    """One segment."""

    def __init__(
        self, files: Files, folder: Path, base: int, following: int | None, mark: Mark, before_ms: int
    ) -> None:
        self._files = files
        self._path = segment_path(folder, base)
        self._live = base == mark.segment
        self._base = base
        self._end = mark.end if following is None else following
        self._mark = mark
        self.last_ms = before_ms

    def findings(self) -> Iterator[str]:
        codec = Codec()
        try:
            file = self._files.open(self._path)
        except FileNotFoundError:
            return  # removed by retention meanwhile
        try:
            limit = min(self._mark.size, file.size()) if self._live else file.size()
            at, offset = 0, self._base
            continues = False
            # From the next segment's base on a sealed segment is void: a failed write that was not cut back.
            while at < limit and (self._live or offset < self._end):
                try:
                    place = read_place(file, at, limit, self._path)
                    header = place.header
                    if header.base != offset:
                        raise BadFrame(f"a frame for offset {header.base} stands where {offset} belongs")
                except BadFrame as error:
                    yield self._text(at, offset, str(error))
                    return  # where the next frame starts is not known
                yield from self._frame(place, codec, file)
                at, offset = place.after, header.end
                continues = bool(header.flags & CONTINUES)
            if offset < self._end:
                yield self._text(at, offset, f"the segment ends here, but should go on to offset {self._end}")
            elif offset > self._end:
                yield self._text(
                    at, offset, f"frames go on past offset {self._end}, where the next segment begins"
                )
            elif continues:
                yield self._text(at, offset, "an append is not whole: its last frame is missing")
        finally:
            file.close()

    def _frame(self, place: Place, codec: Codec, file: ReadableFile) -> Iterator[str]:
        header = place.header
        if place.at == 0 and header.lineage is None:
            yield self._text(0, header.base, "the segment's first frame carries no lineage")
        if header.first_ms < self.last_ms or header.last_ms < header.first_ms:
            yield self._text(place.at, header.base, "log time goes back")
        self.last_ms = header.last_ms
        try:
            read_lines(file, place, codec)
        except BadFrame as error:
            yield self._text(place.at, header.base, str(error))

    def _text(self, at: int, offset: int, reason: str) -> str:
        return f"{self._path}, byte {at} (offset {offset}): {reason}"
