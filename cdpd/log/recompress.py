"""Recompressing a sealed segment: the frames as they were written are merged into few large ones.

Offsets, lines, log times, epochs, configuration ids, origins and cursors stay; FORMAT.md, “Recompression”. In steps,
for a thread of low priority: somebody else sees to the pace, and that nothing else touches the folder at the swap.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from msgspec import Struct

from cdpd.log.errors import NewerFormat
from cdpd.log.files import Files
from cdpd.log.frame import (
    COMPACT,
    CONTINUES,
    HAS_HOLES,
    MAX_CONTENT,
    BadFrame,
    Codec,
    Cursor,
    Header,
    Part,
    encode_frame,
)
from cdpd.log.index import IndexBuilder, drop_misfit, write_index
from cdpd.log.rewrite import Draft
from cdpd.log.segment import Place, read_opening, read_place, segment_path

LEVEL: Final = 9
"""zstd's. Measured on frames of 1 MiB (tests/bench/bodies.py, lines of 1.6 KB, one core): level 1 leaves 0.222 of
the bytes at 470 MB/s, 6: 0.207 at 107, 9: 0.201 at 67, 12: 0.197 at 40, 16: 0.184 at 6."""
_SYNC_EVERY: Final = 4 << 20
"""Bytes between two syncs: a commit of the writer never waits for more than these to reach the disk."""


def recompressed(files: Files, folder: Path, base: int, end: int) -> bool | None:
    """Whether a segment is already; None where it is gone, damaged or of a newer cdpd, and so left alone.

    On the way its index goes where it cannot be that segment's. Raises OSError.
    """
    try:
        opening = read_opening(files, folder, base)
        if opening is None:
            return None
        file = files.open(segment_path(folder, base))
    except (NewerFormat, FileNotFoundError):
        return None
    try:
        drop_misfit(files, folder, base, end, file.size())
    finally:
        file.close()
    return bool(opening.header.flags & COMPACT)


class _Merge(Struct):
    """Frames on their way into one."""

    base: int
    epoch: int
    config_id: int
    contents: list[bytes]
    parts: list[Part]
    size: int = 0
    count: int = 0
    flags: int = 0
    cursor: Cursor | None = None
    origins: list[int] | None = None

    def takes(self, header: Header) -> bool:
        return (
            header.epoch == self.epoch
            and header.config_id == self.config_id
            and (header.origins is None) == (self.origins is None)
            and self.size + header.content_length <= MAX_CONTENT
        )

    def add(self, header: Header, content: bytes) -> None:
        self.contents.append(content)
        self.size += len(content)
        self.count += header.count
        # Of the last one alone: whether its append goes on, and the cursor.
        self.flags = (self.flags | header.flags) & HAS_HOLES | header.flags & CONTINUES
        self.cursor = header.cursor
        if self.origins is not None:
            self.origins += header.origins or ()
        for part in header.parts or (Part(header.count, header.first_ms, header.last_ms),):
            last = self.parts[-1] if self.parts else None
            if last is not None and last.first_ms == part.first_ms == last.last_ms == part.last_ms:
                self.parts[-1] = Part(last.count + part.count, part.first_ms, part.last_ms)
            else:
                self.parts.append(part)

    def frame(self, codec: Codec) -> tuple[Header, bytes]:
        """The merged frame, read again before it is believed. Raises BadFrame."""
        content = b"".join(self.contents)
        header, data = encode_frame(
            codec,
            content,
            base=self.base,
            count=self.count,
            first_ms=self.parts[0].first_ms,
            last_ms=self.parts[-1].last_ms,
            epoch=self.epoch,
            config_id=self.config_id,
            flags=self.flags,
            cursor=self.cursor,
            origins=self.origins,
            parts=self.parts if len(self.parts) > 1 else None,
        )
        if codec.content(header, data[header.length :]) != content:
            raise BadFrame("what was compressed does not expand to the same")
        return header, data


class Recompression:
    """One segment being recompressed: `step` until it says 0, then `swap`, then `finish`; `close` in any case.

    Raises BadFrame where the segment is damaged: then it stays as it is. Raises OSError.
    """

    def __init__(self, files: Files, folder: Path, base: int, end: int, level: int = LEVEL) -> None:
        self.before = 0
        """Bytes of the segment as it was …"""
        self.after = 0
        """… and as it is."""
        self._files = files
        self._folder = folder
        self._base = base
        self._end = end
        self._path = segment_path(folder, base)
        self._codec = Codec(level)
        self._file = files.open(self._path)
        self._draft: Draft | None = None
        self._index = IndexBuilder(base)
        self._merge: _Merge | None = None
        self._at = 0
        self._offset = base
        self._unsynced = 0

    def step(self) -> int:
        """Read on until a frame is written; how many bytes were read and written, 0 once all is durable."""
        if self._draft is None:
            self._draft = Draft(self._files, self._folder, self._base)
        start, size = self._at, self._draft.size
        while self._draft.size == size:
            place = self._next()
            if place is None:
                if self._merge is not None:
                    self._write(self._merge.frame(self._codec))
                    self._merge = None
                    break
                if self._unsynced:
                    self._draft.sync()
                    self._unsynced = 0
                self.after = self._draft.size
                return 0
            self._take(place)
        written = self._draft.size - size
        self._unsynced += written
        if self._unsynced >= _SYNC_EVERY:
            self._draft.sync()
            self._unsynced = 0
        return self._at - start + written

    def _next(self) -> Place | None:
        """The next frame that counts."""
        size = self._file.size()
        done = self._offset >= self._end
        if self._at >= size:
            if not done:
                raise BadFrame(f"the segment ends at offset {self._offset}, but should go on to {self._end}")
            return None
        try:
            place = read_place(self._file, self._at, size, self._path)
        except BadFrame:
            if done:
                return None  # void: a failed write that was not cut back
            raise
        header = place.header
        if done and (header.count or header.base != self._end):
            return None
        if header.base != self._offset or header.end > self._end:
            raise BadFrame(f"a frame for offset {header.base} stands where {self._offset} belongs")
        self._at, self._offset = place.after, header.end
        return place

    def _take(self, place: Place) -> None:
        header = place.header
        if place.at == 0:
            self._write(self._opening(header))
            return
        body = self._file.read(place.body_at, header.body_length)
        content = self._codec.content(header, body)
        if content.count(b"\n") != header.count:
            raise BadFrame("the frame's body has another number of lines than its header says")
        merge = self._merge
        if not header.count:
            # It only says how far everything before it came; so does what it follows.
            if merge is not None:
                merge.cursor, merge.flags = header.cursor or merge.cursor, merge.flags & HAS_HOLES
            return
        if merge is not None and not merge.takes(header):
            self._write(merge.frame(self._codec))
            merge = None
        if merge is None:
            origins: list[int] | None = None if header.origins is None else []
            merge = self._merge = _Merge(header.base, header.epoch, header.config_id, [], [], origins=origins)
        merge.add(header, content)

    def _opening(self, header: Header) -> tuple[Header, bytes]:
        if header.count or header.lineage is None:
            raise BadFrame("the segment's first frame carries no lineage")
        return encode_frame(
            self._codec,
            b"",
            base=header.base,
            count=0,
            first_ms=header.first_ms,
            last_ms=header.last_ms,
            epoch=header.epoch,
            config_id=header.config_id,
            flags=COMPACT,
            cursor=header.cursor,
            lineage=header.lineage,
        )

    def _write(self, frame: tuple[Header, bytes]) -> None:
        assert self._draft is not None
        self._draft.add(*frame)
        assert self._draft.last is not None
        self._index.add(self._draft.last)

    def swap(self) -> bool:
        """Give the new file the segment's name; False where the segment was removed meanwhile.

        Short; to be called while nothing else is written to the folder, or removed from it.
        """
        assert self._draft is not None
        names: Sequence[str] = self._files.names(self._folder)
        if self._path.name not in names:
            return False
        self.before = self._file.size()
        self._draft.put_in_place()
        return True

    def finish(self) -> None:
        """Make the new name durable, and write the index."""
        self._files.sync_folder(self._folder)
        write_index(self._files, self._folder, self._index.build())

    def close(self) -> None:
        """Let go of both files; the new one is removed where it was not put in place."""
        self._file.close()
        if self._draft is not None:
            self._draft.close()
