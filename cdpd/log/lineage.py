"""The lineage: which start of a writer wrote which offsets; it tells whether a position belongs to this log."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from pathlib import Path

from cdpd.event import BEGINNING, Position
from cdpd.log.errors import InvalidCursor
from cdpd.log.files import Files
from cdpd.log.frame import Start
from cdpd.log.mark import Mark
from cdpd.log.segment import read_lineage


def check_position(position: Position, lineage: Sequence[Start], mark: Mark, folder: Path) -> None:
    """Raise InvalidCursor unless the position's epoch is in the lineage and reaches as far as its offset."""
    if position == BEGINNING:
        return
    for i, start in enumerate(lineage):
        if start.epoch == position.epoch:
            end = lineage[i + 1].base if i + 1 < len(lineage) else mark.end
            if position.offset <= end:
                return
            raise InvalidCursor(
                f"{folder}: position {position} is past offset {end}, where that run of the daemon ended here: "
                "this log is older than the one that the position was taken from (a restored backup?). "
                "Restore the log and the state of one moment together, or start again from the beginning or from now"
            )
    raise InvalidCursor(
        f"{folder}: position {position} is of a run of the daemon that this log has never seen: "
        "the position or the log comes from another folder or backup. "
        "Restore the log and the state of one moment together, or start again from the beginning or from now"
    )


def position_of(offset: int, lineage: Sequence[Start]) -> Position:
    """The position at an offset of this log."""
    if offset == 0 or not lineage:
        return BEGINNING
    return Position(offset=offset, epoch=epoch_of(offset, lineage) or lineage[0].epoch)


def epoch_of(offset: int, lineage: Sequence[Start]) -> int | None:
    """Of the start that wrote the line at an offset; None for one before all that the lineage knows."""
    i = bisect_right(lineage, offset, key=lambda start: start.base)
    return lineage[i - 1].epoch if i else None


def pruned(lineage: Sequence[Start], begin: int) -> list[Start]:
    """The lineage without starts that ended before the first kept offset."""
    first = 0
    while first + 1 < len(lineage) and lineage[first + 1].base < begin:
        first += 1
    return list(lineage[first:])


def known_lineage(files: Files, folder: Path, bases: Sequence[int]) -> list[Start]:
    """The lineage of the newest of these segments that can be read."""
    for base in reversed(bases):
        lineage = read_lineage(files, folder, base)
        if lineage is not None:
            return lineage
    return []
