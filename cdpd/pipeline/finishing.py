"""Work that is finished even where its caller is cancelled meanwhile, but not for ever."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

import anyio

from cdpd.clock import Clock
from cdpd.foreign import ends_us

GRACE: Final = 10.0
"""Seconds that work under way gets when its caller is cancelled: a dead disk may never answer."""


class Finishing:
    """Runs one piece of work at a time."""

    def __init__(self, clock: Clock) -> None:
        self.given_up = False
        """A piece of work did not end in time, so that its outcome is not known."""
        self._clock = clock

    async def run(self, work: Callable[[], Awaitable[None]]) -> None:
        """Run it to its end. Raises what it raises; cancelled, it ends before this does, or is given up."""
        finishing, giving_up = anyio.CancelScope(shield=True), anyio.CancelScope(shield=True)
        finished = anyio.Event()
        failure: BaseException | None = None

        async def finish() -> None:
            nonlocal failure
            try:
                with finishing:
                    try:
                        await work()
                    except BaseException as error:
                        if ends_us(error):
                            raise
                        failure = error  # raised below, outside the task group's wrapping
            finally:  # whatever came out: the caller waits for it
                self.given_up = finishing.cancelled_caught
                giving_up.cancel()
                finished.set()

        async def give_up() -> None:
            with giving_up:
                await self._clock.sleep(GRACE)
                finishing.cancel()

        async with anyio.create_task_group() as both:
            both.start_soon(finish)
            try:
                await finished.wait()
            except anyio.get_cancelled_exc_class():
                both.start_soon(give_up)
                raise
        if failure is not None:
            raise failure
