"""What was found out about the latest so-and-so many keys, and finding out more without holding the loop."""

from __future__ import annotations

from collections.abc import Callable, Generator, Hashable, Iterable
from typing import Final, Generic, TypeVar

import anyio.lowlevel

from cdpd.clock import Clock

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")
T = TypeVar("T")

Steps = Generator[None, None, T]
"""A calculation that can be paused at each `yield`, and returns a T."""

_TURN: Final = 0.0005
"""Seconds of work after which the loop gets its turn; a step may add 0.15 ms."""
_AHEAD: Final = 2.0
"""Seconds of work after which `ahead` leaves the rest to `get`: well below `pipeline.prepare_timeout`."""


def finish(steps: Steps[T]) -> T:
    """The result, without a pause."""
    try:
        while True:
            next(steps)
    except StopIteration as done:
        result: T = done.value
        return result


class Remembered(Generic[K, V]):
    """A mapping of bounded size that makes what it does not have; the key that was longest unused goes first.

    `find` makes a value, never None, in steps.
    """

    def __init__(self, size: int, find: Callable[[K], Steps[V]]) -> None:
        self._size = size
        self._find = find
        self._known: dict[K, V] = {}

    def __len__(self) -> int:
        return len(self._known)

    def __contains__(self, key: object) -> bool:
        return key in self._known

    def get(self, key: K) -> V:
        """What is known of the key, found out now if need be."""
        known = self._known
        value = known.pop(key, None)
        if value is None:
            value = finish(self._find(key))
            if len(known) >= self._size:
                del known[next(iter(known))]
        known[key] = value
        return value

    async def ahead(self, keys: Iterable[K], clock: Clock) -> None:
        """Find out about these keys, giving the loop its turn between steps.

        Of a flood, what is left after two seconds of work is left to `get`, lest `cdpd_prepare` be late.
        """
        worked, began = 0.0, clock.monotonic()
        for key in keys:
            steps = self._find(key)
            try:
                while True:
                    next(steps)
                    now = clock.monotonic()
                    if now - began >= _TURN:
                        worked += now - began
                        await anyio.lowlevel.checkpoint()
                        began = clock.monotonic()
            except StopIteration as done:
                self._keep(key, done.value)
            if worked >= _AHEAD:
                return

    def _keep(self, key: K, value: V) -> None:
        self._known.pop(key, None)
        if len(self._known) >= self._size:
            del self._known[next(iter(self._known))]
        self._known[key] = value
