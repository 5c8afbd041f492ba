"""Sizes as people write them: `500MB`, `1GiB`, and for a part of a disk `2%`."""

from __future__ import annotations

import re
from typing import Final

from msgspec import Struct

FORM: Final = "a number and KB, MB, GB, TB or KiB, MiB, GiB, TiB, like 512MiB"
FLOOR_FORM: Final = f"{FORM}; or a part of the disk, like 2%; or 0"
_BYTES: Final[dict[str, int]] = {
    "": 1,
    **{unit: 1000**power for power, unit in enumerate(("B", "KB", "MB", "GB", "TB"))},
    **{unit: 1024**power for power, unit in enumerate(("KiB", "MiB", "GiB", "TiB"), 1)},
}
_SIZE: Final = re.compile(r"(\d{1,15}(?:\.\d{1,6})?) ?([A-Za-z]*)", re.ASCII)
_PERCENT: Final = re.compile(r"(\d{1,2}(?:\.\d{1,3})?) ?%", re.ASCII)


class Floor(Struct, frozen=True):
    """How much of a disk is to stay free: bytes, or a part of its size."""

    bytes: int = 0
    part: float = 0.0

    def of(self, total: int) -> int:
        """Bytes of a disk of this size."""
        return self.bytes or round(self.part * total)


def parse_size(text: str) -> int:
    """Bytes. Raises ValueError."""
    match = _SIZE.fullmatch(text.strip())
    if match is None or match[2] not in _BYTES:
        raise ValueError(f"{text!r} is no size: write {FORM}")
    return round(float(match[1]) * _BYTES[match[2]])


def parse_floor(text: str) -> Floor:
    """A size or a percentage. Raises ValueError."""
    match = _PERCENT.fullmatch(text.strip())
    if match is not None:
        return Floor(part=float(match[1]) / 100)
    try:
        return Floor(bytes=parse_size(text))
    except ValueError:
        raise ValueError(f"{text!r} is no size: write {FLOOR_FORM}") from None
