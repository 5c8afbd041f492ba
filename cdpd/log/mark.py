"""The durable mark: a small file that says up to where a stream is on disk. Layout: FORMAT.md.

Readers in any process go no further. It is written after the sync that it speaks of, in one small write
that is itself never synced: after a power loss recovery does without it.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Final

from msgspec import Struct

from cdpd.event import Position
from cdpd.log.errors import NewerFormat
from cdpd.log.files import Files
from cdpd.log.frame import crc32c

NAME: Final = "mark"
# magic, version, boot id, epoch, end, segment, size, last frame, last ms, head
_MARK = struct.Struct("<4sI16sQQQQQqI")
_CRC = struct.Struct("<I")
_MAGIC = b"CDPM"
_VERSION = 1


class Mark(Struct, frozen=True):
    """A durable mark, decoded."""

    boot_id: bytes
    epoch: int
    """Epoch of the last frame (0 where there is none): with `end` it makes the position of the end."""
    end: int
    """Offset after the last durable line."""
    segment: int
    """Base offset of the segment that the end lies in."""
    size: int
    """How many bytes of that segment are durable; 0 where there is no segment yet."""
    last_frame: int
    """Where in that segment the last frame starts."""
    last_ms: int
    """Log time of the last frame."""
    head: int
    """Checksum of the segment's first header: it tells the file from one that took its name later."""

    @property
    def position(self) -> Position:
        """The cursor of somebody who has read everything."""
        return Position(offset=self.end, epoch=self.epoch)

    def encode(self) -> bytes:
        data = _MARK.pack(
            _MAGIC,
            _VERSION,
            self.boot_id,
            self.epoch,
            self.end,
            self.segment,
            self.size,
            self.last_frame,
            self.last_ms,
            self.head,
        )
        return data + _CRC.pack(crc32c(data))


def decode_mark(data: bytes | None) -> Mark | None:
    """The mark, or None where these bytes are none (missing, torn, foreign). Raises NewerFormat."""
    if data is None or len(data) < _MARK.size + _CRC.size:
        return None
    body = data[: _MARK.size]
    if crc32c(body) != _CRC.unpack_from(data, _MARK.size)[0]:
        return None
    magic, version, *fields = _MARK.unpack(body)
    if magic == _MAGIC and version > _VERSION:
        raise NewerFormat(f"mark of version {version}; install a newer cdpd to read this log")
    return Mark(*fields) if magic == _MAGIC and version == _VERSION else None


def read_mark(files: Files, folder: Path) -> Mark | None:
    """The folder's mark. A write may be under way: a torn one is read again a few times."""
    for _ in range(5):
        data = files.read_all(folder / NAME)
        mark = decode_mark(data)
        if mark is not None or data is None:
            return mark
    return None
