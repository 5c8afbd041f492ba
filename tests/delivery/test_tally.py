"""What is counted and measured of a destination, which does nothing for it."""

from __future__ import annotations

from pathlib import Path

from cdpd import metrics as names
from cdpd.destinations.contract import Batch
from cdpd.destinations.outcome import BadEvent, Delivered, Outcome, Skipped, TryAgain

from .rig import Rig


async def test_each_call_is_timed_and_the_oldest_delivered_event_of_each_batch_tells_its_age(
    tmp_path: Path,
) -> None:
    rig = Rig(tmp_path)
    outcomes: list[Outcome] = [TryAgain("it answered 503", 503), Delivered(200)]

    async def slow(batch: Batch) -> list[Outcome]:
        rig.clock.elapsed += 0.2
        rig.clock.wall_ms += 200
        return [outcomes.pop(0)] * len(batch.events)

    rig.scripted(slow)
    async with rig.running(d={"type": "scripted"}):
        await rig.append_many(3)
        await rig.as_time_passes(lambda: rig.low() == 3, longest=10)
    seconds = rig.metrics.histogram(names.DELIVERY_SECONDS, "d")
    assert sum(seconds.counts) == 2
    assert abs(seconds.sum - 0.4) < 1e-9
    age = rig.metrics.histogram(names.DELIVERED_AGE, "d")
    assert sum(age.counts) == 1, "what is tried again was not delivered"
    assert 0.4 < age.sum < 10.4


async def test_a_call_that_raises_is_timed_too(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.scripted(lambda batch: batch.no_such_thing)
    async with rig.running(d={"type": "scripted"}):
        await rig.append({})
        await rig.until(lambda: rig.metrics.get(names.RETRIED, "d") == 1)
    assert sum(rig.metrics.histogram(names.DELIVERY_SECONDS, "d").counts) == 1


async def test_every_outcome_is_counted(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    outcomes = [Delivered(), Skipped("FILTERED"), BadEvent("no", 400), Delivered()]
    rig.scripted(lambda batch: outcomes[: len(batch.events)])
    async with rig.running(d={"type": "scripted"}):
        await rig.append_many(4, users=1)
        await rig.until(lambda: rig.low() == 4)
    assert rig.metrics.get(names.DELIVERED, "d") == 2
    assert rig.metrics.get(names.SKIPPED, "d", "FILTERED") == 1
    assert rig.metrics.get(names.PARKED, "d", "bad_event") == 1
