"""Running an action where nothing is sent: to its end, on an event loop of its own.

On the caller's loop what the action starts there (tasks, time-outs) could go on after the preview, and then send.
"""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

import anyio

T = TypeVar("T")


def run_apart(work: Callable[[], Awaitable[T]]) -> T:
    """What `work` comes to; waits for it. Raises what it raises."""
    apart = _Apart(work)
    thread = threading.Thread(target=apart, name="preview")
    thread.start()
    thread.join()
    if apart.error is not None:
        raise apart.error
    (result,) = apart.results
    return result


class _Apart(Generic[T]):
    def __init__(self, work: Callable[[], Awaitable[T]]) -> None:
        self._work = work
        self.results: list[T] = []
        self.error: BaseException | None = None

    def __call__(self) -> None:
        try:
            self.results.append(anyio.run(self._work))
        except BaseException as error:  # noqa: BLE001 - it belongs to the caller's thread
            self.error = error
