"""Keeping one destination's consumer going until it is stopped, through failures of the destination's own code."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial

import structlog

from cdpd.clock import Clock
from cdpd.delivery.backoff import Random, retry_delay
from cdpd.delivery.mask import Mask
from cdpd.delivery.slot import Slot
from cdpd.delivery.waiting import first_of
from cdpd.foreign import of_the_machine
from cdpd.log.errors import InvalidCursor, LogError
from cdpd.secret import secrets_in


async def run_slot(
    slot: Slot,
    consume: Callable[[Slot], Awaitable[None]],
    clock: Clock,
    random: Random,
    log: structlog.typing.FilteringBoundLogger,
) -> None:
    """Until the slot is stopping, or the log cannot be read: that is its `problem` then."""
    log = log.bind(destination=slot.name)
    mask = Mask(secrets_in(slot.made.config))
    failures = 0
    assert slot.ended is not None
    try:
        # Shielded: a cancelled daemon first lets batches in flight end (`Delivery.stop`), so that none is doubled.
        with slot.scope:
            while not slot.stopping.is_set():
                try:
                    await consume(slot)
                    return
                except LogError as error:
                    slot.problem = str(error)
                    if isinstance(error, InvalidCursor):
                        slot.problem += f": `cdpd destinations reset {slot.name} --from PLACE`"
                    log.error("the destination cannot read the log and has stopped", problem=slot.problem)
                    return
                except Exception as error:
                    failures += 1
                    slot.problem = mask(_described(error))
                    wait = retry_delay(failures, random)
                    text, again = "the destination failed; it is started again", round(wait, 1)
                    if of_the_machine(error) is None:
                        log.error(text, again_in_seconds=again, exc_info=error)
                    else:
                        log.error(text, again_in_seconds=again, problem=slot.problem)
                    await first_of(slot.stopping.wait, partial(clock.sleep, wait))
    finally:
        slot.ended.set()


def _described(error: BaseException) -> str:
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return f"{type(error).__name__}: {error}"
