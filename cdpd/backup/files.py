"""Copying single files so that each is, at every moment, either as it was or as it is to be."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Final
from urllib.parse import quote

_CHUNK: Final = 4 << 20
_SQLITE: Final = b"SQLite format 3\0"

Progress = Callable[[int], None]
"""Told how many more bytes were copied."""


def make_folder(path: Path) -> None:
    """A folder of our own (0700), where missing, in folders as usual."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.mkdir(mode=0o700, exist_ok=True)


def write_file(path: Path, data: bytes) -> None:
    """Durably put `data` (0600) in the place of what is there."""
    temporary = path.with_name(path.name + ".new")
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with open(fd, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(fd)
    temporary.replace(path)


def copy_whole(source: int, size: int, target: Path, progress: Progress) -> None:
    """The first `size` bytes of an open file (0600), in the place of what is there."""
    temporary = target.with_name(target.name + ".new")
    fd = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        _copy(source, fd, 0, size, progress)
        os.fsync(fd)
    finally:
        os.close(fd)
    temporary.replace(target)


def copy_rest(source: int, size: int, target: Path, progress: Progress) -> None:
    """What a target that has the beginning already does not have of the first `size` bytes."""
    fd = os.open(target, os.O_RDWR | os.O_CLOEXEC)
    try:
        _copy(source, fd, os.fstat(fd).st_size, size, progress)
        os.fsync(fd)
    finally:
        os.close(fd)


def _copy(source: int, target: int, at: int, end: int, progress: Progress) -> None:
    """Bytes [at, end) to the same place; the file system may share them (reflink) instead of copying."""
    in_kernel = hasattr(os, "copy_file_range")
    while at < end:
        size = min(_CHUNK, end - at)
        done = 0
        if in_kernel:
            try:
                done = os.copy_file_range(source, target, size, at, at)
            except OSError:
                in_kernel = False  # not between these file systems
                continue
        if not done:
            data = os.pread(source, size, at)
            if not data:
                raise OSError(f"the source became shorter than {end} bytes while it was copied")
            done = os.pwrite(target, data, at)
        at += done
        progress(done)


def is_database(path: Path) -> bool:
    """Whether a file is an SQLite database."""
    with path.open("rb") as file:
        return file.read(len(_SQLITE)) == _SQLITE


def copy_database(source: Path, target: Path, progress: Progress) -> None:
    """A database in use, as of one moment, in the place of what is there. Raises sqlite3.Error, OSError."""
    temporary = target.with_name(target.name + ".new")
    temporary.unlink(missing_ok=True)
    os.close(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))
    address = f"file:{quote(str(source.resolve()))}?mode=ro"
    with (
        closing(sqlite3.connect(address, uri=True, timeout=30)) as reading,
        closing(sqlite3.connect(temporary)) as writing,
    ):
        reading.backup(writing)
        writing.execute("pragma journal_mode = delete")
        (found,) = writing.execute("pragma quick_check(1)").fetchone()
    if found != "ok":
        raise sqlite3.DatabaseError(f"{source}: {found}")
    fd = os.open(temporary, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
        size = os.fstat(fd).st_size
    finally:
        os.close(fd)
    temporary.replace(target)
    progress(size)


def sync_folder(path: Path) -> None:
    """Make the names in a folder durable."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
