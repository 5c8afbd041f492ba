"""Names for Unix sockets that fit: a socket's address holds 107 bytes, a data folder's path may be longer."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

LIMIT: Final = 107 if sys.platform == "linux" else 103


class SocketPathTooLong(OSError):
    """The path does not fit into a socket's address, and this system has no shorter way to say it."""


@contextmanager
def fitting(path: Path) -> Iterator[str]:
    """A name for `path` to bind or connect to, valid inside the `with`.

    A path too long is reached through its folder's file descriptor (Linux). Raises FileNotFoundError where
    the folder is missing, SocketPathTooLong where nothing helps.
    """
    text = os.fsencode(path)
    if len(text) <= LIMIT:
        yield os.fsdecode(text)
        return
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        short = f"/proc/self/fd/{folder}/{path.name}"
        if not Path(f"/proc/self/fd/{folder}").exists() or len(os.fsencode(short)) > LIMIT:
            raise SocketPathTooLong(
                f"{path} is too long for a Unix socket ({len(text)} bytes, at most {LIMIT}): "
                "choose a data folder with a shorter path"
            )
        yield short
    finally:
        os.close(folder)
