"""What comes out of somebody else's code: whether it is meant for us, or a failure of that code."""

from __future__ import annotations

import asyncio


def ends_us(error: BaseException) -> bool:
    """Whether what was raised has to go on up: this task is cancelled, or the whole process interrupted.

    Everything else is the code's own failure, also a CancelledError where nobody cancelled this task (a library
    that cancels its own future) and a SystemExit. To be asked in a task.
    """
    if isinstance(error, asyncio.CancelledError):
        task = asyncio.current_task()
        return task is not None and task.cancelling() > 0
    return isinstance(error, KeyboardInterrupt | GeneratorExit)
