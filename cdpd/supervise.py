"""A part of the daemon that must not take the others with it when it fails: told loudly, then run again."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

import anyio.lowlevel
import structlog

from cdpd.clock import Clock
from cdpd.foreign import ends_us, of_the_machine
from cdpd.log.errors import LogError

FIRST_WAIT: Final = 1.0
LONGEST_WAIT: Final = 60.0
FIRST_QUIET: Final = 60.0
LONGEST_QUIET: Final = 3600.0
"""Seconds before the same foreseen failure is told again; doubled each time."""


async def supervise(
    name: str,
    part: Callable[[], Awaitable[None]],
    clock: Clock,
    log: structlog.typing.FilteringBoundLogger,
) -> None:
    """Run `part` until cancelled. Where it raises or returns, the log tells, and it is run again after 1 to 60 s.

    What the part works on is on disk: running it again goes on from there. A LogError, like a failure of the machine,
    says itself what is to be done: it is told without a traceback, and while it stays the same after 1 to 60 minutes
    only.
    """
    wait = FIRST_WAIT
    told = _Told(clock)
    while True:
        begun = clock.monotonic()
        failure: BaseException | None = None
        try:
            await part()
            await anyio.lowlevel.checkpoint_if_cancelled()
        except BaseException as error:
            # A fault here must not stop ingest: what comes in is durable, and this part reads it later.
            if ends_us(error):
                raise
            failure = error
        if clock.monotonic() - begun > LONGEST_WAIT:
            wait = FIRST_WAIT
            told = _Told(clock)
        foreseen = None if failure is None else of_the_machine(failure)
        if isinstance(failure, LogError):
            foreseen = str(failure)
        if foreseen is not None:
            if told.due(foreseen):
                text = f"the {name} cannot go on; it is tried again"
                log.error(text, error=foreseen, again_in_seconds=wait)
        else:
            told = _Told(clock)
            text = f"the {name} failed; it is started again"
            if failure is None:
                log.error(text, error="it ended by itself", again_in_seconds=wait)
            else:
                log.error(text, exc_info=failure, again_in_seconds=wait)
        failure = None
        await clock.sleep(wait)
        wait = min(wait * 2, LONGEST_WAIT)


class _Told:
    """When a text was told last, so that it is not told too often."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._text: str | None = None
        self._next = 0.0
        self._quiet = FIRST_QUIET

    def due(self, text: str) -> bool:
        """Whether to tell it now; then it counts as told."""
        now = self._clock.monotonic()
        if text != self._text:
            self._text, self._quiet = text, FIRST_QUIET
        elif now < self._next:
            return False
        else:
            self._quiet = min(self._quiet * 2, LONGEST_QUIET)
        self._next = now + self._quiet
        return True
