"""`cache`: what a function keeps between calls, as long as its process lives. Source: spec/connections.md §9.4."""

from __future__ import annotations

import asyncio
import inspect
import threading
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final

_MOST: Final = 10_000
"""Values that are kept; beyond it those loaded longest ago go."""


class Cache:
    """Values by key, each until its time is over. Safe for the threads in which plain (`def`) handlers run."""

    def __init__(self) -> None:
        self._values: dict[str, tuple[float | None, Any]] = {}
        self._lock = threading.Lock()
        self._loading: dict[str, asyncio.Lock] = {}

    def load(self, key: str, ttl_ms: float | None, fn: Callable[[], Any]) -> Any:
        """The value of `key`: what `fn()` returned last, for `ttl_ms` milliseconds (None or -1: for ever).

        With an `async def` as `fn` this is to be awaited; calls at the same time then share one run of it. What raises
        is not kept.
        """
        if inspect.iscoroutinefunction(fn):
            return self._load_async(key, ttl_ms, fn)
        found = self._get(key)
        if found is not None:
            return found[0]
        return self._put(key, ttl_ms, fn())

    async def _load_async(self, key: str, ttl_ms: float | None, fn: Callable[[], Awaitable[Any]]) -> Any:
        async with self._loading.setdefault(key, asyncio.Lock()):
            found = self._get(key)
            value = found[0] if found is not None else self._put(key, ttl_ms, await fn())
        self._loading.pop(key, None)
        return value

    def delete(self, key: str) -> None:
        """Forget the value of `key`, where there is one."""
        with self._lock:
            self._values.pop(key, None)

    def _get(self, key: str) -> tuple[Any] | None:
        with self._lock:
            until, value = self._values.get(key, (0.0, None))
        return (value,) if until is None or time.monotonic() < until else None

    def _put(self, key: str, ttl_ms: float | None, value: Any) -> Any:
        until = None if ttl_ms is None or ttl_ms == -1 else time.monotonic() + ttl_ms / 1000
        with self._lock:
            self._values.pop(key, None)
            self._values[key] = (until, value)
            while len(self._values) > _MOST:
                del self._values[next(iter(self._values))]
        return value


cache: Final = Cache()
"""The function's own: every function has a process of its own."""
