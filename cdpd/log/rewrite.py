"""Putting another file in a segment's place: made whole and durable under a temporary name, then renamed.

At no moment is there neither the old file nor the new one; who has the old one open reads on in it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from cdpd.log.files import Files, ReadableFile, WritableFile
from cdpd.log.frame import HAS_HOLES, MAX_CONTENT, Codec, Cursor, Header, Part, encode_frame
from cdpd.log.index import index_path
from cdpd.log.segment import NEW_SUFFIX, Place, read_lines, segment_path, walk


class Draft:
    """A segment's new content, being written; a context manager that removes it where it was not put in place."""

    def __init__(self, files: Files, folder: Path, base: int) -> None:
        self.size = 0
        self.last: Place | None = None
        """The last frame."""
        self.head = 0
        """Header checksum of the first frame."""
        self._files = files
        self._folder = folder
        self._base = base
        self._path = segment_path(folder, base)
        self._temporary = self._path.with_name(self._path.name + NEW_SUFFIX)
        self._file = files.create(self._temporary)
        self._in_place = False

    def add(self, header: Header, data: bytes) -> None:
        """Write a frame: its header, decoded, and all its bytes. Raises OSError."""
        if not self.size:
            self.head = int.from_bytes(data[header.length - 4 : header.length], "little")
        self._file.write(data)
        self.last = Place(self.size, header)
        self.size += len(data)

    def sync(self) -> None:
        """Make the bytes durable, still under the temporary name. Raises OSError."""
        self._file.sync()

    def put_in_place(self) -> None:
        """Give it the segment's name, in one step; the index of what was there goes first. Raises OSError."""
        self._files.remove(index_path(self._folder, self._base))
        self._files.rename(self._temporary, self._path)
        self._in_place = True

    def close(self) -> None:
        """Close it; where it was not put in place, it is gone."""
        self._file.close()
        if not self._in_place:
            try:
                self._files.remove(self._temporary)
            except OSError:
                pass  # the daemon's next start removes it

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def trim(files: Files, folder: Path, base: int, end: int, aside: Path) -> bool:
    """Where `end` lies inside of a frame, let that frame end there; what it and all behind were is kept in `aside`.

    Returns whether it does. Raises OSError; BadFrame where the segment is damaged up to there.
    """
    path, codec = segment_path(folder, base), Codec()
    file = files.open(path)
    try:
        for place in walk(file, file.size(), path):
            if place.header.end > end:
                break
        else:
            return False
        header = place.header
        if header.base >= end:
            return False
        lines = read_lines(file, place, codec)[: end - header.base]
        kept = files.create(aside)
        try:
            _copy(file, place.at, file.size(), kept)
            kept.sync()
        finally:
            kept.close()
        files.sync_folder(folder)
        with Draft(files, folder, base) as draft:
            for good in walk(file, place.at, path):
                draft.add(good.header, file.read(good.at, good.after - good.at))
            draft.add(*trimmed(codec, header, lines))
            draft.sync()
            draft.put_in_place()
            files.sync_folder(folder)
    finally:
        file.close()
    return True


def _copy(file: ReadableFile, at: int, end: int, to: WritableFile) -> None:
    while at < end and (piece := file.read(at, min(end - at, 1 << 20))):
        to.write(piece)
        at += len(piece)


def trimmed(codec: Codec, header: Header, lines: Sequence[bytes]) -> tuple[Header, bytes]:
    """A frame with only the first of its lines."""
    parts: list[Part] = []
    left = len(lines)
    for part in header.parts or ():
        if left > 0:
            parts.append(Part(min(part.count, left), part.first_ms, part.last_ms))
        left -= part.count
    return encode_frame(
        codec,
        b"".join(line + b"\n" for line in lines),
        base=header.base,
        count=len(lines),
        first_ms=header.first_ms,
        last_ms=parts[-1].last_ms if parts else header.last_ms,
        epoch=header.epoch,
        config_id=header.config_id,
        flags=header.flags,
        cursor=header.cursor,
        origins=None if header.origins is None else header.origins[: len(lines)],
        parts=parts or None,
    )


def hole_frames(
    codec: Codec,
    offset: int,
    end: int,
    *,
    epoch: int,
    config_id: int,
    first_ms: int,
    last_ms: int,
    cursor: Cursor | None,
    flags: int = 0,
    origins: Sequence[int] | None = None,
) -> list[tuple[Header, bytes]]:
    """Frames in which lines [offset, end) are holes, as many as it takes; headers and all their bytes."""
    frames = []
    for start in range(offset, end, MAX_CONTENT):
        stop = min(start + MAX_CONTENT, end)
        frames.append(
            encode_frame(
                codec,
                b"\n" * (stop - start),
                base=start,
                count=stop - start,
                first_ms=first_ms,
                last_ms=last_ms,
                epoch=epoch,
                config_id=config_id,
                flags=flags | HAS_HOLES,
                cursor=cursor,
                origins=None if origins is None else origins[start - offset : stop - offset],
            )
        )
    return frames
