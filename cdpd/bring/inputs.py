"""What there is to import: files, folders, a pipe, and what stores.py and web.py find behind URLs."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, Final

from msgspec import Struct

from cdpd.bring.unpack import Unreadable

PIPE: Final = "-"
ENDINGS: Final = (".gz", ".json", ".ndjson", ".jsonl", ".zst", ".csv", ".tsv")
"""Of names, in a folder or a bucket; a file that is named itself may be called anything."""
_PIECE: Final = 256 * 1024
_US_DATE: Final = re.compile(r"(\d\d)-(\d\d)-(\d{4})", re.ASCII)
_NUMBER: Final = re.compile(r"(\d+)", re.ASCII)


class Found(Struct, frozen=True):
    """One file or object."""

    name: str
    """Its path or URL: how messages call it, and how it is known the next time."""
    size: int | None = None
    """Bytes as stored; None where unknown."""
    stamp: str = ""
    """Changes when its content does: the time of its last change, or an etag. "" where there is none."""


class Inputs(Struct, frozen=True):
    """What is to be imported, in order."""

    found: Sequence[Found]
    open: Callable[[Found], Iterator[bytes]]
    """The bytes of one, in pieces. Raises Unreadable."""
    left_out: int = 0
    """Files in the folder whose names say that they are something else."""
    resumable: bool = True

    @property
    def size(self) -> int | None:
        """Bytes of all of them; None where unknown."""
        sizes = [found.size for found in self.found]
        return None if None in sizes else sum(size or 0 for size in sizes)


def wanted(name: str) -> bool:
    """Whether a file in a folder is to be read, by its name."""
    last = name.rpartition("/")[2]
    return last.endswith(ENDINGS) and not last.startswith((".", "_"))


def order(name: str) -> tuple[tuple[tuple[int, int, str], ...], ...]:
    """A sort key: by folders, then name; numbers by value, RudderStack's MM-DD-YYYY as dates.

    Archives name folders by day and files by time, so events go in about the order in which they came.
    """
    *folders, last = name.split("/")
    parts = [_US_DATE.sub(r"\3-\1-\2", folder) for folder in folders]
    return tuple(
        tuple((0, int(piece), "") if piece.isdecimal() else (1, 0, piece) for piece in _NUMBER.split(part))
        for part in (*parts, last)
    )


def local(path: Path) -> Inputs:
    """A file, or all files of archives in a folder and the folders in it. Raises Unreadable."""
    try:
        if not path.is_dir():
            return Inputs([_local(path)], _read)
        found = []
        left_out = 0
        for folder, folders, names in os.walk(path, onerror=_refuse):
            folders[:] = [name for name in folders if not name.startswith(".")]
            for name in names:
                if wanted(name):
                    found.append(_local(Path(folder, name)))
                elif not name.startswith("."):
                    left_out += 1
    except OSError as error:
        raise _unreadable(error, path) from None
    return Inputs(sorted(found, key=lambda file: order(file.name)), _read, left_out)


def piped(stream: BinaryIO) -> Inputs:
    """What comes through a pipe; it cannot be gone on with later."""

    def read(_: Found) -> Iterator[bytes]:
        while piece := stream.read(_PIECE):
            yield piece

    return Inputs([Found("stdin")], read, resumable=False)


def _local(path: Path) -> Found:
    state = path.stat()
    return Found(str(path.resolve()), state.st_size, str(state.st_mtime_ns))


def _read(found: Found) -> Iterator[bytes]:
    try:
        with open(found.name, "rb") as file:
            while piece := file.read(_PIECE):
                yield piece
    except OSError as error:
        raise _unreadable(error, Path(found.name)) from None


def _refuse(error: OSError) -> None:
    raise error


def _unreadable(error: OSError, path: Path) -> Unreadable:
    return Unreadable(f"cannot read {error.filename or path}: {(error.strerror or str(error)).lower()}")
