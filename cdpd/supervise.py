"""A part of the daemon that must not take the others with it when it fails: told loudly, then run again."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

import structlog

from cdpd.clock import Clock

FIRST_WAIT: Final = 1.0
LONGEST_WAIT: Final = 60.0


async def supervise(
    name: str,
    part: Callable[[], Awaitable[None]],
    clock: Clock,
    log: structlog.typing.FilteringBoundLogger,
) -> None:
    """Run `part` until cancelled. Where it raises, the log tells, and it is run again after 1 to 60 seconds.

    What the part works on is on disk: running it again goes on from there.
    """
    wait = FIRST_WAIT
    while True:
        begun = clock.monotonic()
        try:
            await part()
            return
        except Exception:
            # A fault here must not stop ingest: what comes in is durable, and this part reads it later.
            if clock.monotonic() - begun > LONGEST_WAIT:
                wait = FIRST_WAIT
            log.exception(f"the {name} failed; it is started again", again_in_seconds=wait)
        await clock.sleep(wait)
        wait = min(wait * 2, LONGEST_WAIT)
