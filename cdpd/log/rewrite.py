"""Putting another file in a segment's place: made whole and durable under a temporary name, then renamed.

At no moment is there neither the old file nor the new one; who has the old one open reads on in it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from cdpd.log.files import Files
from cdpd.log.frame import HAS_HOLES, MAX_CONTENT, Codec, Cursor, Header, encode_frame
from cdpd.log.index import index_path
from cdpd.log.segment import NEW_SUFFIX, Place, segment_path


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

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
        if not self._in_place:
            try:
                self._files.remove(self._temporary)
            except OSError:
                pass  # the daemon's next start removes it


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
