"""Repairing a stream that nobody writes: damage becomes holes, its bytes are kept aside, every offset stays.

At whatever moment it is interrupted, it can be run again. Rules: ARCHITECTURE, The log, Recovery and Holes.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from cdpd.log.files import Files
from cdpd.log.index import build_index, index_path, load_index
from cdpd.log.mark import read_mark
from cdpd.log.remake import Mended, Remake, State, free_name
from cdpd.log.segment import segment_bases, segment_path


def repair(files: Files, folder: Path, *, dry_run: bool) -> Iterator[Mended]:
    """Mend a stream, and tell each thing that was mended (with `dry_run`: that would be), in order.

    The caller holds the stream's lock. Where the mark is lost, the last segment is left to the daemon's start,
    which finds out where the stream ends. Raises NewerFormat, OSError.
    """
    yield from _rights(files, folder, dry_run)
    mark = read_mark(files, folder)
    bases = segment_bases(files, folder)
    if mark is None:
        bases, ends = bases[:-1], bases[1:]
    else:
        for base in [base for base in bases if mark.segment < base < mark.end]:
            yield _put_aside(files, folder, base, mark.end, dry_run)
        bases = [base for base in bases if base <= mark.segment]
        if mark.size and mark.segment not in bases:
            bases.append(mark.segment)
        ends = [*bases[1:], mark.end] if bases else []
    state = State()
    for i, (base, end) in enumerate(zip(bases, ends, strict=True)):
        live = mark if mark is not None and base == mark.segment else None
        mended = list(Remake(files, folder, bases, i, end, live, state).mend(dry_run))
        yield from mended
        if live is None and not mended:  # else it goes with what it was of
            yield from _index(files, folder, base, end, dry_run)


def _rights(files: Files, folder: Path, dry_run: bool) -> Iterator[Mended]:
    for path in (folder, *(folder / name for name in sorted(files.names(folder)))):
        mode = files.mode(path)
        if mode & 0o077:
            if not dry_run:
                files.make_private(path)
            yield Mended(path, f"others than its owner had rights to it (mode {mode:04o})")


def _put_aside(files: Files, folder: Path, base: int, end: int, dry_run: bool) -> Mended:
    path = segment_path(folder, base)
    aside = free_name(files, path, "")
    if not dry_run:
        files.rename(path, aside)
        files.sync_folder(folder)
    return Mended(path, f"the durable mark, which says that {end} is the end, does not know it", aside=aside)


def _index(files: Files, folder: Path, base: int, end: int, dry_run: bool) -> Iterator[Mended]:
    path = index_path(folder, base)
    if path.name not in files.names(folder):
        return
    stored, made = load_index(files, folder, base), build_index(files, folder, base, end)
    if stored is None or made is None or stored.entries[: len(made.entries)] != made.entries:
        if not dry_run:
            files.remove(path)
        yield Mended(path, "the index did not fit its segment; the daemon makes it again")
