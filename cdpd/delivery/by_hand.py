"""What people do to destinations of a running daemon, without its configuration: list, pause, resume, forget."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any

import structlog

from cdpd.clock import Clock
from cdpd.delivery.dropping import Dropper
from cdpd.delivery.making import DestinationError
from cdpd.delivery.parked import ParkedFilter
from cdpd.delivery.paused import Paused, end_pauses, paused_by_hand, store_pauses
from cdpd.delivery.removed import Forgotten, forget, removed, to_forget
from cdpd.delivery.slot import Slot
from cdpd.delivery.state import StateDb
from cdpd.log.readable import ReadableStream


class ByHand:
    """`slots`: the destinations that are configured; `halted`: Delivery's."""

    def __init__(
        self,
        slots: Callable[[], Mapping[str, Slot]],
        halted: Callable[..., AbstractAsyncContextManager[None]],
        dropper: Dropper,
        events: ReadableStream,
        state: StateDb,
        clock: Clock,
        log: structlog.typing.FilteringBoundLogger,
    ) -> None:
        self._slots = slots
        self._halted = halted
        self._dropper = dropper
        self._events = events
        self._state = state
        self._clock = clock
        self._log = log

    def listed(self, status: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
        """Destination → its `status`, its `type`, and since when it is so; those too that are not configured any more.

        Raises StateError.
        """
        told: dict[str, dict[str, Any]] = {}
        slots = self._slots()
        for name, one in status.items():
            since = one["paused"]["since"] if "paused" in one else one["failing_since"]
            told[name] = {"type": slots[name].made.config.type or name, **one, "since": since}
        return told | removed(self._state, slots, self._events.end.offset)

    async def pause(self, chosen: Iterable[str], reason: str = "") -> None:
        """Let these rest, once the batches that they have in flight have ended (at most GRACE seconds).

        Those that are paused already keep their time, and their reason where none is given. Raises StateError.
        """
        before, now = paused_by_hand(self._state), self._clock.now_ms()
        pauses = {}
        for name in chosen:
            was = before.get(name, Paused(now))
            pauses[name] = Paused(was.at_ms, reason or was.reason)
        await store_pauses(self._state, pauses)
        async with self._halted(*pauses):
            pass
        for name in pauses.keys() - before.keys():
            self._log.warning(
                "the destination is paused by hand; its events wait in the log", destination=name
            )

    async def resume(self, chosen: Iterable[str]) -> None:
        """Let these go on, each exactly where it was. Raises StateError."""
        names = list(chosen)
        await end_pauses(self._state, names)
        async with self._halted(*names):
            pass
        for name in names:
            self._log.info("the destination goes on, as it was told to", destination=name)

    async def forget(self, name: str, *, parked: bool, dry_run: bool = False) -> Forgotten:
        """Of one that is not configured: its place, pause, journal, and where that is wanted its parked events.

        Raises DestinationError where it is configured, or that would lose what was not named, and StateError.
        """
        async with self._halted():
            if name in self._slots():
                raise DestinationError(
                    f"{name} is configured: take [destinations.{name}] out and reload first"
                )
            found = to_forget(self._state, name, self._events.end.offset, parked=parked)
            if not dry_run:
                await self._dropper.drop(ParkedFilter(destination=name))
                await forget(self._state, name)
                self._log.warning(
                    "a destination that is not configured was forgotten, as was asked for", destination=name
                )
            return found
