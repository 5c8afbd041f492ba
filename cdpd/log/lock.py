"""The lock that makes a process the one writer of a stream. It ends with the process, however that ends."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from cdpd.log.errors import StreamLocked
from cdpd.log.files import Files, WritableFile

NAME: Final = "lock"


def take_lock(files: Files, folder: Path) -> WritableFile:
    """Make the folder where missing, and lock it; closing what is returned unlocks. Raises StreamLocked, OSError."""
    files.make_folder(folder)
    path = folder / NAME
    lock = files.lock(path)
    if lock is None:
        holder = (files.read_all(path) or b"").strip().decode(errors="replace")
        raise StreamLocked(
            f"{folder}: another process {f'(pid {holder}) ' if holder else ''}is writing this stream; "
            "stop it first, or use another data folder"
        )
    lock.truncate(0)
    lock.write(b"%d\n" % os.getpid())
    return lock
