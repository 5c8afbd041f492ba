"""Messages of alerts on their way: each channel's in order, tried until they are delivered; kept in state.db.

A message is stored with the state that it tells of, and deleted once it is delivered: a restart loses none. Where the
daemon dies in between it goes out again, with the same messageId.
"""

from __future__ import annotations

from functools import partial
from typing import Final

import anyio
import structlog
from anyio.abc import TaskGroup

from cdpd import metrics as names
from cdpd.alerts.channels import Channels, Told
from cdpd.alerts.store import Pending, Store
from cdpd.clock import Clock
from cdpd.delivery.backoff import Random, retry_delay
from cdpd.delivery.state import StateError
from cdpd.delivery.waiting import first_of
from cdpd.metrics import Metrics

GIVEN_UP_AFTER: Final = 7 * 86400.0
"""Seconds after which a message is no news any more."""
MOST_WAITING: Final = 500
"""Messages that wait in one channel; then the oldest are given up."""
_COMMIT_AGAIN: Final = 5.0


class Outbox:
    """Delivers what is in the store."""

    def __init__(
        self,
        store: Store,
        channels: Channels,
        clock: Clock,
        metrics: Metrics,
        log: structlog.typing.FilteringBoundLogger,
        random: Random,
    ) -> None:
        self.waiting: dict[str, int] = {}
        """Channel → messages that are not delivered."""
        self.problems: dict[str, str] = {}
        """Channel → why its first one is not."""
        self._store = store
        self._channels = channels
        self._clock = clock
        self._metrics = metrics
        self._log = log
        self._random = random
        self._busy: set[str] = set()
        self._now = anyio.Event()
        self._tasks: TaskGroup

    async def run(self) -> None:
        """Deliver until cancelled."""
        async with anyio.create_task_group() as self._tasks:
            self.look()
            await anyio.sleep_forever()

    def look(self) -> None:
        """There may be new messages."""
        self._count()
        for channel in self.waiting:
            if channel not in self._busy:
                self._busy.add(channel)
                self._tasks.start_soon(self._deliver, channel)

    def wake(self) -> None:
        """Try at once what waits: the configuration may have been mended."""
        now, self._now = self._now, anyio.Event()
        now.set()

    async def _deliver(self, channel: str) -> None:
        """All messages of a channel, in order."""
        failures = 0
        try:
            while (first := self._store.first(channel)) is not None:
                told = await self._channels.send(channel, first.message, failures + 1)
                if told.result == "again" and not self._no_news(channel, first):
                    failures += 1
                    await self._wait(channel, first, told, failures)
                    continue
                if told.result != "delivered":
                    self._say("an alert could not be delivered, and is given up", channel, first, told)
                failures = 0
                self.problems.pop(channel, None)
                await self._done(first)
                self._count()
        finally:
            self.problems.pop(channel, None)
            self._busy.discard(channel)

    def _count(self) -> None:
        self.waiting = self._store.waiting()
        self._metrics.set(names.ALERTS_UNSENT, value=sum(self.waiting.values()))

    def _no_news(self, channel: str, message: Pending) -> bool:
        """Whether it has waited for too long, or too many wait behind it."""
        if self.waiting.get(channel, 0) > MOST_WAITING:
            return True
        return self._clock.now_ms() - message.message.at_ms > GIVEN_UP_AFTER * 1000

    async def _wait(self, channel: str, message: Pending, told: Told, failures: int) -> None:
        self.problems[channel] = told.reason
        if failures == 1:
            self._say("an alert could not be delivered; it is tried again", channel, message, told)
        delay = retry_delay(failures, self._random) if told.after is None else told.after
        await first_of(self._now.wait, partial(self._clock.sleep, delay))

    async def _done(self, message: Pending) -> None:
        while True:
            try:
                await self._store.delivered(message)
                return
            except StateError as error:
                self._log.error(
                    "that an alert is delivered cannot be stored; trying again", problem=str(error)
                )
            await self._clock.sleep(_COMMIT_AGAIN)

    def _say(self, text: str, channel: str, message: Pending, told: Told) -> None:
        self._log.error(
            text, channel=channel, alert=message.message.properties.get("alert"), problem=told.reason
        )
