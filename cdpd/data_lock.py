"""The lock that makes a daemon, with all its processes, the one daemon of a data folder.

It ends with the last process that has it open, however that ends: so one that outlives its supervisor for a moment is
still counted.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

NAME: Final = "lock"
PATIENCE: Final = 10.0
"""Seconds to wait for what is left of a daemon that is no more."""
_LOOK_EVERY: Final = 0.02


class DataInUse(Exception):
    """Another daemon runs on the data folder."""


@contextmanager
def locked(data_dir: Path, patience: float = PATIENCE) -> Iterator[int]:
    """The lock, as an open file descriptor for processes to inherit, held inside the `with`.

    Blocks where the holder's processes are still ending. Raises DataInUse (with the holder's pid), OSError.
    """
    descriptor = os.open(data_dir / NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        until = time.monotonic() + patience
        while not _taken(descriptor):
            holder = _holder(descriptor)
            if time.monotonic() >= until or (holder and _runs(holder)):
                who = f"another daemon (pid {holder})" if holder else "another daemon"
                raise DataInUse(
                    f"{who} is running on {data_dir}: stop it first, or use another data folder (--data-dir)"
                )
            time.sleep(_LOOK_EVERY)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, b"%d\n" % os.getpid(), 0)
        yield descriptor
    finally:
        os.close(descriptor)


def holder(data_dir: Path) -> int | None:
    """The pid of the daemon that holds it; 0 where that is not known, None where nobody does, or it cannot be seen."""
    try:
        descriptor = os.open(data_dir / NAME, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        # A shared lock, for the moment: a daemon that starts just now waits as it does for the end of another.
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return _holder(descriptor)
    else:
        return None
    finally:
        os.close(descriptor)


def _taken(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _holder(descriptor: int) -> int:
    """The pid that the holder wrote; 0 where it has not got so far."""
    text = os.pread(descriptor, 32, 0).strip()
    return int(text) if text.isdigit() else 0


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True
