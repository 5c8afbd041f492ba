"""The watchdog: the service manager hears that all is well only while there is progress.

The loop has to turn (this runs on it), no write to the log may hang, and the pipeline may not stand still without
a word. What fails and says so (a full disk, a destination that is down, a pipeline that a hook stopped) is no
reason to be killed: a restart would change nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Protocol

import structlog

from cdpd.clock import Clock
from cdpd.notify import Notifier

STALLED: Final = 120.0
"""Seconds that a pipeline which says that it runs may take for one slice."""
EVERY: Final = 30.0
"""Seconds between two looks where the manager sets no watchdog: for its status line only."""

Check = Callable[[], str | None]
"""What stands still, in words; None where nothing does."""


class Written(Protocol):
    """A stream, as far as the watchdog goes."""

    name: str
    writing_since: float | None
    """Monotonic seconds; None where nothing is being written."""


def writes_hang(streams: Sequence[Written], clock: Clock, limit: float) -> Check:
    """A write (with its sync) that has taken longer than `limit` seconds."""

    def check() -> str | None:
        for stream in streams:
            since = stream.writing_since
            if since is not None and clock.monotonic() - since > limit:
                return f"a write to {stream.name} has hung for {clock.monotonic() - since:.0f} s: the disk"
        return None

    return check


def pipeline_stalls(status: Callable[[], Mapping[str, Any]], clock: Clock) -> Check:
    """A pipeline (its `status()`) that has work, reports no trouble, and does not move."""
    at: object = None
    since = clock.monotonic()

    def check() -> str | None:
        nonlocal at, since
        now = status()
        told = now["state"] not in ("running", "starting")
        if told or not now["behind"] or now["received"] != at:
            at, since = now["received"], clock.monotonic()
            return None
        stood = clock.monotonic() - since
        return f"the pipeline has stood still for {stood:.0f} s, with work to do" if stood > STALLED else None

    return check


async def watch_over(
    notifier: Notifier,
    *,
    streams: Sequence[Written],
    pipeline: Callable[[], Mapping[str, Any]] | None,
    status: Callable[[], str],
    clock: Clock,
    log: structlog.typing.FilteringBoundLogger,
) -> None:
    """Until cancelled: tell the manager that all is well, three times within its watchdog, and one line of status."""
    if not notifier.listens:
        return
    checks = [writes_hang(streams, clock, notifier.watchdog or math.inf)]
    if pipeline is not None:
        checks.append(pipeline_stalls(pipeline, clock))
    every = EVERY if notifier.watchdog is None else notifier.watchdog / 3
    silent = False
    while True:
        stuck = next((reason for check in checks if (reason := check()) is not None), None)
        if stuck is None:
            if silent:
                log.info("there is progress again")
            notifier.alive()
        elif not silent:
            log.error("no progress: the service manager will end the daemon if it goes on", reason=stuck)
        silent = stuck is not None
        notifier.status(stuck or status())
        await clock.sleep(every)
