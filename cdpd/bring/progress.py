"""How far an import is: one row of SQLite for each file, written once the daemon has its events on disk.

A crash between the two sends at most one batch again, under the same messageIds: `dedup` drops it.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final

from msgspec import Struct

from cdpd.bring.inputs import Found
from cdpd.bring.reading import Mark

_FILE: Final = "progress.db"
_VERSION: Final = 1
_TABLE: Final = """
create table if not exists files (
  source text not null, selection text not null, name text not null,
  size integer, stamp text not null, lines integer not null, digest blob not null, events integer not null,
  done integer not null, treatment text not null,
  primary key (source, selection, name)
) without rowid
"""


class ProgressError(Exception):
    """Progress cannot be kept; the text says why."""


class State(Struct, frozen=True):
    """How far one file is."""

    found: Found
    mark: Mark
    events: int
    """Sent from it."""
    done: bool
    treatment: str

    def whole(self, found: Found) -> bool:
        """Whether the file was read to its end, and is still the same."""
        return self.done and bool(found.stamp) and self.found == found


class Progress:
    """Of one source and selection of events (`--from`, `--to`): each selection is an import of its own."""

    def __init__(self, db: sqlite3.Connection, source: str, selection: str, keeps: bool) -> None:
        self.keeps = keeps
        """False: it is only looked at (a dry run)."""
        self._db = db
        self._key = (source, selection)

    def of(self, found: Found) -> State | None:
        """What is known of a file."""
        row = self._db.execute(
            "select size, stamp, lines, digest, events, done, treatment from files "
            "where source = ? and selection = ? and name = ?",
            (*self._key, found.name),
        ).fetchone()
        if row is None:
            return None
        size, stamp, count, digest, events, done, treatment = row
        return State(Found(found.name, size, stamp), Mark(count, digest), events, bool(done), treatment)

    def note(self, states: Mapping[str, State]) -> None:
        """Keep these, all or none."""
        if not self.keeps:
            return
        rows = [
            (
                *(*self._key, state.found.name, state.found.size, state.found.stamp),
                *(state.mark.lines, state.mark.digest, state.events, state.done, state.treatment),
            )
            for state in states.values()
        ]
        with self._db:
            self._db.executemany("insert or replace into files values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", rows)

    def forget(self, files: Iterable[Found]) -> None:
        """Begin these anew."""
        if self.keeps:
            with self._db:
                self._db.executemany(
                    "delete from files where source = ? and selection = ? and name = ?",
                    [(*self._key, found.name) for found in files],
                )


@contextmanager
def kept_progress(folder: Path, source: str, selection: str, *, keeps: bool = True) -> Iterator[Progress]:
    """The progress in `folder`, made (0700) if need be. One import into a source at a time: raises ProgressError."""
    with _locked(folder, source):
        try:
            with closing(_opened(folder / _FILE)) as db:
                yield Progress(db, source, selection, keeps)
        except sqlite3.Error as error:
            raise _cannot(folder, str(error)) from None


@contextmanager
def _locked(folder: Path, source: str) -> Iterator[None]:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(folder / f"{source}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise _cannot(folder, error.strerror or str(error)) from None
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise ProgressError(f"another `cdpd import` into {source} is running") from None
        yield
    finally:
        os.close(lock)


def _opened(path: Path) -> sqlite3.Connection:
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    except OSError as error:
        raise _cannot(path.parent, error.strerror or str(error)) from None
    db = sqlite3.connect(path, timeout=30)
    version = db.execute("pragma user_version").fetchone()[0]
    if version not in (0, _VERSION):
        db.close()
        raise ProgressError(f"{path} was written by a newer cdpd")
    db.execute(_TABLE)
    db.execute(f"pragma user_version = {_VERSION}")
    return db


def _cannot(folder: Path, why: str) -> ProgressError:
    return ProgressError(
        f"cannot keep progress in {folder}: {why.lower()}; run it as the user that the daemon runs as"
    )
