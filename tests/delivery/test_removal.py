"""Destinations that are taken out: their place stays, the log is not kept for them, and they may be forgotten."""

from __future__ import annotations

from pathlib import Path

import pytest

from cdpd.delivery.making import DestinationError
from cdpd.destinations.contract import Batch
from cdpd.destinations.outcome import BadEvent, Delivered, Outcome
from cdpd.log.retention import Retention
from cdpd.log.stream import StreamOptions
from tests.delivery.rig import Rig

SCRIPTED = {"type": "scripted"}


def refusing_m0(batch: Batch) -> list[Outcome]:
    return [BadEvent("no", 400) if event.message_id == "m0" else Delivered() for event in batch.events]


async def test_it_says_once_what_it_means_and_comes_back_where_it_was(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.scripted(refusing_m0)
    async with rig.running(d=SCRIPTED):
        await rig.append_many(2)
        await rig.settle()
        await rig.delivery.by_hand.pause(["d"])
        await rig.append_many(3)
        await rig.delivery.apply(rig.config({}))
        await rig.delivery.apply(rig.config({}))
        (told,) = [entry for entry in rig.told if "no longer configured" in entry["event"]]
        assert (told["level"], told["destination"]) == ("warning", "d")
        assert (told["events_to_come"], told["parked"]) == (3, 1)
        assert rig.delivery.needed() == {}, "the log is not kept for it"
        listed = rig.delivery.listed()["d"]
        assert (listed["state"], listed["position"], listed["lag_events"], listed["parked"]) == (
            "removed",
            2,
            3,
            1,
        )
        assert "paused" in listed
        await rig.delivery.by_hand.resume(["d"])
        await rig.delivery.apply(rig.config({"d": SCRIPTED}))
        await rig.settle()
        assert rig.status()["parked"] == 1
    assert rig.sent == [f"m{n}" for n in range(5)]


async def test_all_are_listed_with_their_type_and_since_when(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.scripted(lambda batch: [BadEvent("no", 400)] * len(batch.events))
    async with rig.running(d=SCRIPTED, null={}):
        await rig.delivery.by_hand.pause(["d"])
        listed = rig.delivery.listed()
    assert {name: (one["type"], one["state"]) for name, one in listed.items()} == {
        "d": ("scripted", "paused by hand"),
        "null": ("null", "running"),
    }
    assert listed["d"]["since"] == "2023-11-14T22:13:20.000Z"
    assert listed["null"]["since"] is None


async def test_one_that_is_gone_can_be_forgotten_and_begins_anew_if_it_returns(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.scripted(refusing_m0)
    async with rig.running(d=SCRIPTED):
        forget = rig.delivery.by_hand.forget
        await rig.append_many(2)
        await rig.settle()
        with pytest.raises(DestinationError, match="is configured"):
            await forget("d", parked=True)
        await rig.delivery.apply(rig.config({}))
        await rig.append_many(1)
        with pytest.raises(DestinationError, match=r"1 parked events.*--parked"):
            await forget("d", parked=False)
        would = await forget("d", parked=True, dry_run=True)
        assert (would.position, would.events_to_come, would.parked) == (2, 1, 1)
        assert rig.low() == 2
        assert await forget("d", parked=True) == would
        assert (rig.low(), rig.state.parked_count("d"), rig.state.attempts("d")) == (-1, 0, [])
        assert rig.delivery.listed() == {}
        with pytest.raises(DestinationError, match="nothing is kept"):
            await forget("d", parked=True)
        await rig.delivery.apply(rig.config({"d": SCRIPTED}))
        assert rig.low() == 3


async def test_what_retention_took_meanwhile_is_told_when_it_comes_back(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.scripted()
    async with rig.running(d=SCRIPTED):
        await rig.append_many(2)
        await rig.settle()
        await rig.delivery.apply(rig.config({}))
        rig.events.options = StreamOptions(segment_age=0.0)
        await rig.append_many(3)
        await rig.append_many(1)
        await rig.events.retain(Retention(keep_bytes=0), rig.delivery.needed())
        assert rig.events.begin == 5
        await rig.delivery.apply(rig.config({"d": SCRIPTED}))
        await rig.until(lambda: rig.status()["state"] == "stopped")
        assert "no longer kept" in rig.status()["problem"]
        assert "cdpd destinations reset d --from PLACE" in rig.status()["problem"]
        await rig.delivery.reset("d", "beginning")
        await rig.settle()
    assert rig.sent == ["m0", "m1", "m5"]
