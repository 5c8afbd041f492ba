"""Reading a stream from a position up to its durable end; plain files, any process, any number of readers."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from msgspec import Struct

from cdpd.event import BEGINNING, Position
from cdpd.log.errors import Damage, InvalidCursor, LogError
from cdpd.log.files import Files, OsFiles, ReadableFile
from cdpd.log.frame import HAS_HOLES, BadFrame, Codec, Cursor, Start
from cdpd.log.index import load_index
from cdpd.log.lineage import check_position
from cdpd.log.mark import Mark, read_mark
from cdpd.log.segment import Place, read_lineage, read_lines, read_place, segment_bases, segment_path


class Frame(Struct, frozen=True):
    """A frame as consumers see it; the first of a slice may be trimmed to the reader's position."""

    base: int
    count: int
    epoch: int
    first_ms: int
    last_ms: int
    config_id: int
    lines: list[bytes]
    """Without line breaks; b"" is a hole (a deleted event), which keeps its offset."""
    cursor: Cursor | None = None
    origins: Sequence[int] | None = None
    """Stream `events`: each line's own offset in `received`."""
    holes: bool = False

    @property
    def end(self) -> Position:
        return Position(offset=self.base + self.count, epoch=self.epoch)


class Slice(Struct, frozen=True):
    """Consecutive frames that were read together."""

    frames: list[Frame]
    start: Position
    end: Position
    """The cursor to keep once all of it has been handled."""

    @property
    def count(self) -> int:
        """Lines, holes included."""
        return sum(frame.count for frame in self.frames)

    def records(self) -> Iterator[tuple[Position, int, int, bytes]]:
        """(position after the line, offset, log time of its frame in ms, line), holes skipped."""
        for frame in self.frames:
            for i, line in enumerate(frame.lines, frame.base):
                if line:
                    yield Position(offset=i + 1, epoch=frame.epoch), i, frame.last_ms, line


class Reader:
    """Reads on from `position`. `mark` tells the durable end; by default it is read from the folder."""

    def __init__(
        self,
        folder: Path,
        position: Position = BEGINNING,
        *,
        files: Files | None = None,
        mark: Callable[[], Mark | None] | None = None,
    ) -> None:
        self.folder = folder
        self.position = position
        self._files: Files = files or OsFiles()
        self._mark = mark or self._read_mark
        self._codec = Codec()
        self._checked = position == BEGINNING
        self._file: ReadableFile | None = None
        self._segment = -1
        self._next_base: int | None = None
        self._at = 0
        self._offset = 0  # of the frame at _at

    def _read_mark(self) -> Mark | None:
        return read_mark(self._files, self.folder)

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def seek(self, position: Position) -> None:
        """Read on from another position of this stream."""
        self.close()
        self.position = position

    def read(self, max_lines: int = 1000, max_bytes: int = 1 << 20) -> Slice | None:
        """The next frames, at least one and then up to the bounds; None at the durable end.

        Raises Damage where the bytes below the durable end are wrong, InvalidCursor where `position` is
        not of this log; the position then stays.
        """
        mark = self._mark()
        if mark is None:
            if not segment_bases(self._files, self.folder):
                return None
            raise LogError(
                f"{self.folder} has segments but no durable mark: start the daemon once to recover it"
            )
        if not self._checked:
            self._check(mark)
        if self.position.offset >= mark.end:
            return None
        start, frames = self.position, list[Frame]()
        lines = size = 0
        while self.position.offset < mark.end and lines < max_lines and size < max_bytes:
            try:
                frame, length = self._next(mark)
            except Damage:
                if frames:
                    break  # what is good goes out first; the next read says what is wrong
                raise
            frames.append(frame)
            lines += frame.count
            size += length
            self.position = frame.end
        return Slice(frames, start if start.offset else Position(frames[0].base, start.epoch), self.position)

    def _check(self, mark: Mark) -> None:
        lineage = self._lineage(mark)
        check_position(self.position, lineage, mark, self.folder)
        self._checked = True

    def _lineage(self, mark: Mark) -> list[Start]:
        return (read_lineage(self._files, self.folder, mark.segment) if mark.size else None) or []

    def _next(self, mark: Mark) -> tuple[Frame, int]:
        try:
            return self._step(mark)
        except (BadFrame, FileNotFoundError):
            # The file may have been replaced under us (a segment without events is): look again by name.
            self.close()
            mark = self._mark() or mark
        try:
            return self._step(mark)
        except FileNotFoundError as error:
            raise Damage(
                Path(error.filename or self.folder), 0, "the segment is missing", self.position.offset
            ) from error
        except BadFrame as error:
            at, segment = self._at, self._segment
            self.close()
            raise Damage(segment_path(self.folder, segment), at, str(error), self.position.offset) from error

    def _step(self, mark: Mark) -> tuple[Frame, int]:
        offset = self.position.offset
        if self._file is None:
            self._locate(mark)
        while True:
            if self._next_base is None and self._segment < mark.segment:
                self._next_base = self._following(mark)
            if self._next_base is not None and self._offset >= self._next_base:
                self._open(self._next_base)
                continue
            assert self._file is not None
            limit = mark.size if self._segment == mark.segment else self._file.size()
            place = read_place(self._file, self._at, limit, segment_path(self.folder, self._segment))
            if place.header.base != self._offset:
                raise BadFrame(f"a frame for offset {place.header.base} stands where {self._offset} belongs")
            if place.header.end > offset:
                lines = read_lines(self._file, place, self._codec)
                self._pass(place)
                return _trimmed(place, lines, offset), place.header.content_length
            self._pass(place)

    def _pass(self, place: Place) -> None:
        self._at = place.after
        self._offset = place.header.end

    def _locate(self, mark: Mark) -> None:
        """Open the segment of the position and go near it, with the index where there is one."""
        bases = [base for base in segment_bases(self._files, self.folder) if base <= mark.segment]
        if not bases:
            raise FileNotFoundError(2, "no segment", str(segment_path(self.folder, mark.segment)))
        if self.position == BEGINNING:
            self.position = Position(offset=bases[0], epoch=0)
        offset = self.position.offset
        if offset < bases[0]:
            raise InvalidCursor(
                f"{self.folder}: position {self.position} is no longer kept: the log begins at offset {bases[0]} "
                "(retention removed what was before). Start again from the beginning or from now"
            )
        base = bases[bisect_right(bases, offset) - 1]
        self._open(base)
        if base < mark.segment:
            index = load_index(self._files, self.folder, base)
            if index is not None:
                entry = index.seek(offset)
                self._at, self._offset = entry.at, entry.offset

    def _open(self, base: int) -> None:
        self.close()
        path = segment_path(self.folder, base)
        self._segment, self._next_base, self._at, self._offset = base, None, 0, base
        self._file = self._files.open(path)

    def _following(self, mark: Mark) -> int:
        bases = segment_bases(self._files, self.folder)
        later = [base for base in bases if self._segment < base <= mark.segment]
        if not later:
            raise FileNotFoundError(2, "no segment", str(segment_path(self.folder, mark.segment)))
        return later[0]


def _trimmed(place: Place, lines: list[bytes], offset: int) -> Frame:
    header = place.header
    skip = max(offset - header.base, 0)
    return Frame(
        header.base + skip,
        header.count - skip,
        header.epoch,
        header.first_ms,
        header.last_ms,
        header.config_id,
        lines[skip:] if skip else lines,
        header.cursor,
        header.origins[skip:] if header.origins is not None else None,
        bool(header.flags & HAS_HOLES),
    )
