"""A stream that another process writes, for readers here: they look at its mark, and watch it while they wait."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from cdpd.event import BEGINNING, Position
from cdpd.log.files import Files, OsFiles
from cdpd.log.folder import StreamFolder
from cdpd.log.frame import BadFrame, Cursor
from cdpd.log.mark import NAME, Mark, decode_mark
from cdpd.log.reader import Reader
from cdpd.log.segment import read_opening, read_place, segment_path
from cdpd.log.watch import FileWatch

_TORN: Final = 5
"""Times that a mark is read again that a write has just torn."""


class Followed:
    """Made by `followed`. As ReadableStream; takes no lock and writes nothing."""

    def __init__(self, folder: Path, files: Files | None = None) -> None:
        self.folder = folder
        self.name = folder.name
        self._files: Files = files or OsFiles()
        self._watch = FileWatch(folder / NAME)
        self._seen: tuple[bytes, Mark | None] = (b"", None)
        self._named: tuple[Mark | None, Cursor | None] = (None, None)

    @property
    def end(self) -> Position:
        """The durable end, as its writer has published it."""
        mark = self._mark()
        return BEGINNING if mark is None else mark.position

    @property
    def begin(self) -> int:
        """First offset that is kept."""
        return StreamFolder(self.folder, self._files).begin()

    @property
    def cursor(self) -> Cursor | None:
        """The cursor of the last durable frame. Where that cannot be read now, an earlier one: never a later one."""
        mark = self._mark()
        if mark is not None and mark != self._named[0]:
            try:
                self._named = (mark, self._read_cursor(mark))
            except (OSError, BadFrame):
                pass
        return self._named[1]

    def reader(self, position: Position = BEGINNING) -> Reader:
        """A reader that goes up to the durable end."""
        return Reader(self.folder, position, files=self._files, mark=self._mark)

    async def wait_beyond(self, position: Position) -> None:
        """Return once there is a published line after `position`."""

        def is_there() -> bool:
            return self.end.offset > position.offset

        while not is_there():
            await self._watch.changed(is_there)

    def close(self) -> None:
        """End the watch; nobody may be waiting."""
        self._watch.close()

    def _mark(self) -> Mark | None:
        """The mark as it is now; the last one that was whole, where a write is tearing it."""
        for _ in range(_TORN):
            try:
                data = self._files.read_all(self.folder / NAME)
            except OSError:
                break
            if data is None or data == self._seen[0]:
                break
            mark = decode_mark(data)
            if mark is not None:
                self._seen = (data, mark)
                break
        return self._seen[1]

    def _read_cursor(self, mark: Mark) -> Cursor | None:
        if not mark.size:
            return None
        path = segment_path(self.folder, mark.segment)
        file = self._files.open(path)
        try:
            header = read_place(file, mark.last_frame, mark.size, path).header
        finally:
            file.close()
        if header.cursor is None:
            opening = read_opening(self._files, self.folder, mark.segment)
            return None if opening is None else opening.header.cursor
        return header.cursor


@contextmanager
def followed(folder: Path, files: Files | None = None) -> Iterator[Followed]:
    """The stream in `folder`, to be read inside the `with`."""
    stream = Followed(folder, files)
    try:
        yield stream
    finally:
        stream.close()
