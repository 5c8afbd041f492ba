"""Parked events that are kept for `keep_parked`: named a day before they go, and when they go; never unannounced."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from cdpd import metrics as names
from cdpd.config.model import Config, DeliveryConfig
from cdpd.delivery.expiry import EVERY
from cdpd.destinations.contract import Batch
from cdpd.destinations.outcome import BadEvent, Outcome
from tests.clock import FakeClock
from tests.delivery.rig import Rig

DAY = 86_400.0
SCRIPTED = {"type": "scripted"}


class Watch(FakeClock):
    """Knows when a look is over: then the next is slept for."""

    resting = False

    async def sleep(self, seconds: float) -> None:
        self.resting = self.resting or seconds == EVERY
        try:
            await super().sleep(seconds)
        finally:
            self.resting = self.resting and seconds != EVERY


class Expiring(Rig):
    """With `keep_parked`, and a vendor that refuses everything."""

    keep = "30d"

    def __init__(self, folder: Path, clock: Watch | None = None) -> None:
        self.watch = clock or Watch()
        super().__init__(folder, self.watch)

    def config(self, destinations: Any) -> Config:
        config = super().config(destinations)
        return Config(destinations=config.destinations, delivery=DeliveryConfig(keep_parked=self.keep))

    @asynccontextmanager
    async def refusing(self, **options: Any) -> AsyncIterator[None]:
        def behave(batch: Batch) -> list[Outcome]:
            return [BadEvent("no", 400)] * len(batch.events)

        self.scripted(behave)
        async with self.running(d={**SCRIPTED, **options}):
            await self.until(lambda: self.watch.resting)
            yield

    def said(self, words: str) -> list[dict[str, Any]]:
        return [entry for entry in self.told if words in entry["event"]]

    async def days(self, count: float) -> None:
        """Let so many days pass, look by look."""
        until = self.clock.elapsed + count * DAY
        while self.clock.elapsed < until:
            await self.wait(min(until - self.clock.elapsed, 6 * 3600.0))
            await self.until(lambda: self.watch.resting)


async def test_it_is_named_a_day_before_and_when_it_goes(tmp_path: Path) -> None:
    rig = Expiring(tmp_path)
    async with rig.refusing():
        await rig.append_many(2)
        await rig.settle()
        await rig.days(27)
        assert rig.said("will expire soon") == []
        await rig.days(2)
        (notice,) = rig.said("will expire soon")
        assert (notice["level"], notice["destination"], notice["events"]) == ("warning", "d", 2)
        assert notice["first_goes"][:10] == "2023-12-14", "thirty days after it was parked"
        assert rig.status()["parked"] == 2
        await rig.append_many(1)
        await rig.days(1.5)
        (gone,) = rig.said("have expired")
        assert (gone["level"], gone["destination"], gone["events"]) == ("error", "d", 2)
        assert gone["oldest"][:10] == "2023-11-14"
        assert rig.status()["parked"] == 1, "the one that was parked later"
        assert rig.metrics.get(names.DROPPED, "d", "expired") == 2


async def test_a_shorter_time_gives_a_day_to_act(tmp_path: Path) -> None:
    rig = Expiring(tmp_path)
    async with rig.refusing():
        await rig.append_many(1)
        await rig.settle()
        await rig.days(10)
        rig.keep = "7d"
        await rig.delivery.apply(rig.config({"d": SCRIPTED}))
        await rig.days(0.5)
        assert len(rig.said("will expire soon")) == 1
        assert rig.status()["parked"] == 1
        await rig.days(1)
        assert rig.status()["parked"] == 0


async def test_after_standing_still_nothing_goes_unannounced_and_restarts_do_not_begin_anew(
    tmp_path: Path,
) -> None:
    rig = Expiring(tmp_path)
    async with rig.refusing():
        await rig.append_many(1)
        await rig.settle()
    await rig.clock.advance(50 * DAY)
    left = []
    for hours in (10, 10, 12):
        later = Expiring(tmp_path, rig.watch)
        async with later.refusing():
            await later.days(hours / 24)
            left.append(later.status()["parked"])
        await rig.clock.advance(60)
    assert left == [1, 1, 0]


async def test_for_ever_is_for_ever(tmp_path: Path) -> None:
    rig = Expiring(tmp_path)
    rig.keep = "forever"
    async with rig.refusing():
        await rig.append_many(1)
        await rig.settle()
        await rig.days(100)
        assert rig.status()["parked"] == 1
        assert rig.said("expire") == []


async def test_in_strict_order_one_that_expires_lets_the_line_go_on(tmp_path: Path) -> None:
    rig = Expiring(tmp_path)
    rig.keep = "3d"
    async with rig.refusing(ordering="strict"):
        await rig.append_many(1)
        await rig.until(lambda: rig.status()["parked"])
        assert rig.low() == 0
        await rig.days(5)
        assert rig.low() == 1
        assert rig.status()["parked"] == 0
