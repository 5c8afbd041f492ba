"""What comes out of somebody else's code: whether it is meant for us, or a failure of that code, and how that is told.

An exception's own text may quote an event (`KeyError: 'jane@example.com'`). It goes where events go: into discarded,
the journal of deliveries, the status. The daemon's log gets `kind` and `trace`.
"""

from __future__ import annotations

import asyncio
import errno
import os
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Final

_MACHINES: Final = frozenset(
    (errno.EIO, errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EMFILE, errno.ENFILE, errno.ENOMEM)
)
"""A disk that fails, is full or read-only; no descriptors; no memory."""


def ends_us(error: BaseException) -> bool:
    """Whether what was raised has to go on up: this task is cancelled, or the whole process interrupted.

    Everything else is the code's own failure, also a CancelledError where nobody cancelled this task (a library
    that cancels its own future) and a SystemExit. To be asked in a task.
    """
    if isinstance(error, asyncio.CancelledError):
        task = asyncio.current_task()
        return task is not None and task.cancelling() > 0
    return isinstance(error, KeyboardInterrupt | GeneratorExit)


def of_the_machine(error: BaseException) -> str | None:
    """What to tell where a disk or a limit of the process failed, and no code; else None."""
    single = _single(error)
    return str(single) if isinstance(single, OSError) and single.errno in _MACHINES else None


def kind(error: BaseException | None) -> str:
    """What it is and where it was raised, on one line: `KeyError (tor.py:17, cdpd_enrich)`."""
    if error is None:
        return "nothing"
    error = _single(error)
    frames = traceback.extract_tb(error.__traceback__)
    if not frames:
        return _named(error)
    last = frames[-1]
    return f"{_named(error)} ({Path(last.filename).name}:{last.lineno}, {last.name})"


def trace(error: BaseException) -> str:
    """As Python prints an exception, but without the texts of it and of those behind it."""
    return "\n".join(_trace(error, set()))


def _trace(error: BaseException, seen: set[int]) -> Iterator[str]:
    seen.add(id(error))
    before = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    if before is not None and id(before) not in seen:
        yield from _trace(before, seen)
        yield ""
        yield "That led to:" if error.__cause__ is not None else "While that was handled:"
        yield ""
    if error.__traceback__ is not None:
        yield "Traceback (most recent call last):"
        for entry in traceback.format_tb(error.__traceback__):
            yield from entry.rstrip("\n").split("\n")
    yield _named(error)
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            if id(inner) not in seen:
                yield from (f"  | {line}" for line in _trace(inner, seen))


def _named(error: BaseException) -> str:
    name = type(error).__qualname__
    if type(error).__module__ not in ("builtins", "__main__"):
        name = f"{type(error).__module__}.{name}"
    if isinstance(error, OSError) and error.errno is not None:
        return f"{name}: {os.strerror(error.errno)}"  # the system's own words
    return name


def _single(error: BaseException) -> BaseException:
    """What a task group's wrapping holds, where that is one."""
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error
