"""Reading a stream from a position up to its durable end; plain files, any process, any number of readers."""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from msgspec import Struct

from cdpd.event import BEGINNING, Position
from cdpd.log.errors import Damage, InvalidCursor, NoLongerKept, NotRecovered
from cdpd.log.files import Files, OsFiles, ReadableFile
from cdpd.log.frame import HAS_HOLES, BadFrame, Codec, Cursor, Header, Part
from cdpd.log.index import load_index
from cdpd.log.lineage import check_position, known_lineage
from cdpd.log.mark import Mark, read_mark
from cdpd.log.segment import Place, read_lines, read_place, segment_bases, segment_path


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
    """Reads on from `position`. `mark` tells the durable end; by default it is read from the folder.

    Holds no lock: segments that retention removes under it become a clear error (NoLongerKept).
    """

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
        self._checked: int | None = None
        """The mark's epoch when the position was last checked against the lineage."""
        self._file: ReadableFile | None = None
        self._segment = 0
        self._next_base: int | None = None
        self._at = 0
        self._offset = 0
        """Of the frame at `_at`."""
        self._pending: deque[tuple[Frame, int]] = deque()
        """Read already: what follows `position` of a frame that was made of several; with uncompressed sizes."""

    def _read_mark(self) -> Mark | None:
        return read_mark(self._files, self.folder)

    def close(self) -> None:
        """Close the file that is open; reading on opens it again."""
        self._pending.clear()
        if self._file is not None:
            self._file.close()
            self._file = None

    def seek(self, position: Position) -> None:
        """Read on from another position of this stream."""
        self.close()
        self.position, self._checked = position, None

    def read(self, max_lines: int = 1000, max_bytes: int = 1 << 20) -> Slice | None:
        """The next frames, at least one and then up to the bounds; None at the durable end.

        Raises Damage where the bytes below the durable end are wrong, InvalidCursor where `position` is
        not of this log, NoLongerKept where retention removed what it points at, NotRecovered where the mark is lost
        or older than the last power loss; the position then stays.
        """
        mark = self._mark()
        if mark is None:
            if not segment_bases(self._files, self.folder):
                return None
            raise NotRecovered(
                f"{self.folder} has segments but no durable mark: start the daemon once to recover it"
            )
        if self._checked != mark.epoch or mark.end < self.position.offset:
            self._check(mark)
        if self.position.offset >= mark.end:
            return None
        start, frames = self.position, list[Frame]()
        lines = size = 0
        while self.position.offset < mark.end and lines < max_lines and size < max_bytes:
            if not self._pending:
                try:
                    self._pending.extend(self._next(mark))
                except (Damage, InvalidCursor):
                    if frames:
                        break  # what is good goes out first; the next read says what is wrong
                    raise
            frame, length = self._pending.popleft()
            frames.append(frame)
            lines += frame.count
            size += length
            self.position = frame.end
        if start == BEGINNING and frames[0].base:
            start = Position(offset=frames[0].base, epoch=frames[0].epoch)
        return Slice(frames, start, self.position)

    def _check(self, mark: Mark) -> None:
        bases = [base for base in segment_bases(self._files, self.folder) if base <= mark.segment]
        if bases and self.position != BEGINNING:
            self._check_kept(self.position.offset, bases)
        try:
            check_position(self.position, known_lineage(self._files, self.folder, bases), mark, self.folder)
        except InvalidCursor:
            if mark.boot_id != self._files.boot_id():  # the mark may be an old one: it was never synced
                raise NotRecovered(
                    f"{self.folder} was not recovered since the machine started: start the daemon once"
                ) from None
            raise
        self._checked = mark.epoch

    def _check_kept(self, offset: int, bases: list[int]) -> None:
        if offset < bases[0]:
            raise NoLongerKept(
                f"{self.folder}: position {self.position} is no longer kept: the log begins at offset {bases[0]} "
                "(retention removed what was before). Start again from the beginning or from now"
            )

    def _next(self, mark: Mark) -> list[tuple[Frame, int]]:
        """The next frame with lines, or the several that it was made of, and the uncompressed size of each."""
        try:
            return self._step(mark)
        except (BadFrame, FileNotFoundError):
            # Removed by retention or replaced under us, or the index is wrong: look again, by name, from the start.
            self.close()
            mark = self._mark() or mark
        try:
            return self._step(mark, trust_index=False)
        except FileNotFoundError as error:
            self.close()
            path = Path(error.filename or self.folder)
            raise Damage(path, 0, "the segment is missing", self.position.offset) from error
        except BadFrame as error:
            at, segment, offset = self._at, self._segment, self._offset
            self.close()
            raise Damage(segment_path(self.folder, segment), at, str(error), offset) from error

    def _step(self, mark: Mark, *, trust_index: bool = True) -> list[tuple[Frame, int]]:
        offset = self.position.offset
        if self._file is None:
            self._locate(mark, trust_index)
        while True:
            if self._next_base is None and self._segment < mark.segment:
                self._next_base = self._following()
            if self._next_base is not None and self._offset >= self._next_base:
                # What this segment has from here on is void: a failed write that could not be cut back.
                self._open(self._next_base)
                continue
            assert self._file is not None
            live = self._segment == mark.segment
            limit = mark.size if live else self._file.size()
            place = read_place(self._file, self._at, limit, segment_path(self.folder, self._segment))
            header = place.header
            if header.base != self._offset:
                raise BadFrame(f"a frame for offset {header.base} stands where {self._offset} belongs")
            if header.end > (mark.end if self._next_base is None else self._next_base):
                raise BadFrame(f"a frame goes up to offset {header.end}, past the end of its segment")
            frames = None
            if header.end > offset:
                frames = _frames(place, read_lines(self._file, place, self._codec), offset)
            self._at, self._offset = place.after, header.end
            if frames is not None:
                return frames

    def _locate(self, mark: Mark, trust_index: bool) -> None:
        """Open the segment of the position and go near it, with the index where there is one."""
        bases = [base for base in segment_bases(self._files, self.folder) if base <= mark.segment]
        if not bases:
            raise FileNotFoundError(2, "no segment", str(segment_path(self.folder, mark.segment)))
        offset = bases[0] if self.position == BEGINNING else self.position.offset
        self._check_kept(offset, bases)
        here = bisect_right(bases, offset) - 1
        self._open(bases[here])
        if trust_index and here + 1 < len(bases):
            index = load_index(self._files, self.folder, bases[here])
            if index is not None and index.end == bases[here + 1]:
                entry = index.seek(offset)
                self._at, self._offset = entry.at, entry.offset

    def _open(self, base: int) -> None:
        self.close()
        path = segment_path(self.folder, base)
        self._segment, self._next_base, self._at, self._offset = base, None, 0, base
        self._file = self._files.open(path)

    def _following(self) -> int:
        """Base of the segment after the open one, which has to be there still: else what follows is not known."""
        bases = segment_bases(self._files, self.folder)
        here = bisect_right(bases, self._segment)
        if not here or bases[here - 1] != self._segment or here == len(bases):
            raise FileNotFoundError(2, "no segment", str(segment_path(self.folder, self._segment)))
        return bases[here]


def _frames(place: Place, lines: list[bytes], offset: int) -> list[tuple[Frame, int]]:
    """What a frame has from `offset` on: as one, or as the frames that were merged into it."""
    header = place.header
    if header.parts is None:
        whole = Part(header.count, header.first_ms, header.last_ms)
        return [(_part(header, whole, 0, lines, offset), header.content_length)]
    frames, start = [], 0
    for part in header.parts:
        if header.base + start + part.count > offset:
            frame = _part(header, part, start, lines, offset)
            frames.append((frame, header.content_length * part.count // header.count))
        start += part.count
    return frames


def _part(header: Header, part: Part, start: int, lines: list[bytes], offset: int) -> Frame:
    """Lines `start` to `start + part.count` of a frame, without those before `offset`."""
    stop = start + part.count
    start = max(offset - header.base, start)
    whole = not start and stop == header.count
    origins = header.origins
    return Frame(
        header.base + start,
        stop - start,
        header.epoch,
        part.first_ms,
        part.last_ms,
        header.config_id,
        lines if whole else lines[start:stop],
        header.cursor if stop == header.count else None,
        origins if whole or origins is None else origins[start:stop],
        bool(header.flags & HAS_HOLES),
    )
