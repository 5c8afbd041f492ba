"""Retention: which sealed segments of a stream are removed, and which are held because somebody needs them."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path

from msgspec import Struct

from cdpd.log.files import Files
from cdpd.log.index import build_index, index_path, sealed_index, write_index
from cdpd.log.segment import segment_bases, segment_path


class Retention(Struct, frozen=True):
    """How much of a stream is kept; None: no bound."""

    keep: float | None = None
    """Seconds: a segment whose last line is older may go."""
    keep_bytes: int | None = None
    """Bytes of all segments together: while there are more, the oldest goes."""


class Removed(Struct, frozen=True):
    """A segment that was removed."""

    path: Path
    base: int
    end: int
    bytes: int


class Retained(Struct, frozen=True):
    """What one round of retention did."""

    removed: list[Removed]
    held: dict[str, int]
    """Who still needs segments that the rule would remove → the offset from which on."""


def retain(
    files: Files, folder: Path, rule: Retention, needed: Mapping[str, int], *, live: int, now_ms: int
) -> Retained:
    """Remove what the rule allows, oldest first; `live`: base of the segment that stays in any case.

    Stops at the first segment that somebody needs. Raises OSError.
    """
    bases = [base for base in segment_bases(files, folder) if base <= live]
    total = 0 if rule.keep_bytes is None else sum(_size(files, segment_path(folder, base)) for base in bases)
    removed: list[Removed] = []
    for base, end in pairwise(bases):
        if not _expired(files, folder, rule, base, end, total, now_ms):
            break
        held = {who: offset for who, offset in needed.items() if offset < end}
        if held:
            return Retained(removed, held)
        path = segment_path(folder, base)
        size = _size(files, path)
        files.remove(path)
        # One after the other also on the disk: after a power loss there is no gap in the middle.
        files.sync_folder(folder)
        files.remove(index_path(folder, base))
        total -= size
        removed.append(Removed(path, base, end, size))
    return Retained(removed, {})


def make_indexes(files: Files, folder: Path, live: int) -> None:
    """Write the index of every sealed segment that has none, and remove those without a segment. Raises OSError."""
    bases = [base for base in segment_bases(files, folder) if base <= live]
    names = set(files.names(folder))
    for base, end in pairwise(bases):
        if index_path(folder, base).name not in names:
            index = build_index(files, folder, base, end)
            if index is not None:
                write_index(files, folder, index)
    owned = {index_path(folder, base).name for base in bases}
    for name in names:
        if name.endswith(".idx") and name not in owned:
            files.remove(folder / name)


def _expired(
    files: Files, folder: Path, rule: Retention, base: int, end: int, total: int, now_ms: int
) -> bool:
    if rule.keep_bytes is not None and total > rule.keep_bytes:
        return True
    if rule.keep is None:
        return False
    index = sealed_index(files, folder, base, end)
    return index is not None and index.last_ms < now_ms - rule.keep * 1000


def _size(files: Files, path: Path) -> int:
    file = files.open(path)
    try:
        return file.size()
    finally:
        file.close()
