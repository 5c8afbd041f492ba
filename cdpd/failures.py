"""What keeps a daemon, or a process of it, from starting: foreseen, and told in one message without a traceback."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from cdpd.config.problem import ConfigError
from cdpd.control.server import ControlInUse
from cdpd.data_lock import DataInUse
from cdpd.delivery.making import DestinationError
from cdpd.delivery.state import StateError
from cdpd.ingest.server import ListenError
from cdpd.log.errors import LogError, StreamLocked
from cdpd.pipeline.chain import HookError


class StartFailed(Exception):
    """A process of the daemon did not start; the text says which, and why."""


_FORESEEN: Final = (
    ListenError,
    StreamLocked,
    ControlInUse,
    LogError,
    StateError,
    DestinationError,
    HookError,
    ConfigError,
    StartFailed,
    DataInUse,
)
"""Their messages say what to do."""


def foreseen(error: Exception, data_dir: Path) -> str | None:
    """What to tell of a failure, or None where it is a fault of ours, and needs its traceback."""
    while isinstance(error, ExceptionGroup):  # a task group's wrapping
        error = error.exceptions[0]
    if isinstance(error, _FORESEEN):
        return str(error)
    if isinstance(error, OSError):
        reason = (error.strerror or str(error)).lower()
        where = error.filename or data_dir
        return f"{where}: {reason}; is {data_dir} the right data folder (--data-dir)?"
    return None
