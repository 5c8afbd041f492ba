"""A thread that does one piece of work after another for the tasks of a loop.

What anyio's pool of threads asks for each piece (a limiter, a context, a queue with conditions) costs more than
handing it over; a stream does so thousands of times a second.
"""

from __future__ import annotations

import asyncio
import os
import queue
import threading
from collections.abc import Callable
from typing import Any, TypeVar, TypeVarTuple, Unpack

import anyio

_T = TypeVar("_T")
_Args = TypeVarTuple("_Args")


class OneThread:
    """Starts with the first piece of work and ends with `close`."""

    def __init__(self, name: str, niceness: int = 0) -> None:
        self._name = name
        self._niceness = niceness
        self._orders: queue.SimpleQueue[_Order | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    async def run(self, work: Callable[[Unpack[_Args]], _T], *args: *_Args) -> _T:
        """What `work(*args)` returns or raises; it is waited for whatever is cancelled meanwhile."""
        loop = asyncio.get_running_loop()
        done: asyncio.Future[_T] = loop.create_future()
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name=self._name, daemon=True)
            self._thread.start()
        self._orders.put((work, args, loop, done))
        with anyio.CancelScope(shield=True):
            await done
        return done.result()

    def close(self) -> None:
        """End it after what was ordered."""
        if self._thread is not None:
            self._orders.put(None)
            self._thread.join()
            self._thread = None

    def _work(self) -> None:
        if self._niceness:
            _give_way(self._niceness)
        while (order := self._orders.get()) is not None:
            work, args, loop, done = order
            result, failure = None, None
            try:
                result = work(*args)
            except BaseException as error:  # noqa: BLE001 - whoever waits gets it, whatever it is
                failure = error
            try:
                loop.call_soon_threadsafe(_settle, done, result, failure)
            except RuntimeError:
                pass  # the loop is closed: nobody waits any more
            del order, work, args, result, failure  # nothing of it is kept while waiting for the next


def _give_way(niceness: int) -> None:
    """Lower this thread's priority, where the system lets it."""
    try:
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), niceness)  # Linux: of the thread alone
    except OSError:
        pass


_Order = tuple[Callable[..., Any], tuple[Any, ...], asyncio.AbstractEventLoop, "asyncio.Future[Any]"]


def _settle(done: asyncio.Future[Any], result: Any, failure: BaseException | None) -> None:
    if done.done():  # whoever waited was cancelled
        return
    if failure is None:
        done.set_result(result)
    else:
        done.set_exception(failure)
