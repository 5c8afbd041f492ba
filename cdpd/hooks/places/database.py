"""A MaxMind DB file, opened as a private copy, so that whatever becomes of the file nothing happens to us."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import Final

import maxminddb
from maxminddb import InvalidDatabaseError, Reader

_KINDS: Final = ("City", "Country", "Enterprise", "ASN", "ISP")
"""One of these is in the type of every database that tells places or networks (`DBIP-City-Lite` too)."""
_COPY: Final = "copy-"


class DatabaseError(Exception):
    """A file that cannot be used: which, why, and what to do."""


class Signature(tuple[int, int, int, int]):
    """Tells a file from the one that was there before: device, inode, size, time of change in ns."""

    __slots__ = ()

    @classmethod
    def of(cls, stat: os.stat_result) -> Signature:
        return cls((stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns))


def open_database(path: Path, folder: Path) -> tuple[Reader, Signature]:
    """A reader of the file as it is now; takes a moment for a large one.

    It reads a copy in `folder` whose name is gone at once: a file that is mapped into memory and then overwritten in
    place would end the process. Raises DatabaseError.
    """
    try:
        descriptor, name = tempfile.mkstemp(dir=folder, prefix=_COPY, suffix=".mmdb")
        try:
            with path.open("rb") as file, open(descriptor, "wb") as copy:
                before = Signature.of(os.fstat(file.fileno()))
                shutil.copyfileobj(file, copy, 1 << 20)
                after = Signature.of(os.fstat(file.fileno()))
            if before != after:
                raise DatabaseError(f"{path} is being written to")
            reader = maxminddb.open_database(name)
        finally:
            Path(name).unlink(missing_ok=True)
    except FileNotFoundError as error:
        if not path.exists():
            raise DatabaseError(f"there is no file {path}: put a MaxMind DB file (.mmdb) there") from error
        raise DatabaseError(f"{path} cannot be read: {error}") from error
    except OSError as error:
        raise DatabaseError(f"{path} cannot be read: {error}") from error
    except InvalidDatabaseError as error:
        raise DatabaseError(f"{path} is no MaxMind DB file, or not whole") from error
    kind = reader.metadata().database_type
    if not any(known in kind for known in _KINDS):
        reader.close()
        raise DatabaseError(f"{path} has no places: it is a {kind!r}, and a {', '.join(_KINDS)} is needed")
    return reader, after


def clear_copies(folder: Path) -> None:
    """Remove copies that a killed process left in its folder."""
    for left in folder.glob(f"{_COPY}*.mmdb"):
        left.unlink(missing_ok=True)
