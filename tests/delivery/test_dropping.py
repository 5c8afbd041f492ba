"""Dropping parked events: counted, told, exact; a line that one of them held goes on."""

from __future__ import annotations

from pathlib import Path

import pytest

from cdpd import metrics as names
from cdpd.delivery import dropping
from cdpd.delivery.parked import ParkedFilter
from cdpd.destinations.contract import Batch
from cdpd.destinations.outcome import BadEvent, Delivered, Outcome
from tests.delivery.rig import Rig

SCRIPTED = {"type": "scripted"}
STRICT = {**SCRIPTED, "ordering": "strict", "batch": {"max_events": 1}}


def refusing(*bad: str) -> object:
    def behave(batch: Batch) -> list[Outcome]:
        return [BadEvent("no", 400) if event.message_id in bad else Delivered() for event in batch.events]

    return behave


def refusing_all(batch: Batch) -> list[Outcome]:
    return [BadEvent(f"no {event.message_id}", 400) for event in batch.events]


async def test_those_that_are_meant_go_and_the_log_and_the_metric_say_so(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.scripted(refusing_all)
    async with rig.running(d=SCRIPTED, e=SCRIPTED):
        await rig.append_many(3)
        await rig.settle()
        await rig.settle("e")
        drop = rig.delivery.dropper
        assert await drop.count(ParkedFilter(reason="m1")) == {"d": 1, "e": 1}
        assert await drop.drop(ParkedFilter(destination="d", reason="m1")) == {"d": 1}
        assert [one.message_id for one in rig.state.parked("d")] == ["m0", "m2"]
        assert (rig.status()["parked"], rig.status("e")["parked"]) == (2, 3)
        (told,) = [entry for entry in rig.told if "were dropped" in entry["event"]]
        assert (told["level"], told["destination"], told["events"]) == ("warning", "d", 1)
        assert told["chosen_by"] == ["destination", "reason"], "what was looked for may be of an event"
        assert rig.metrics.get(names.DROPPED, "d", "dropped") == 1
        assert await drop.drop(ParkedFilter()) == {"d": 2, "e": 3}
        assert await drop.drop(ParkedFilter()) == {}


async def test_many_are_dropped_in_portions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dropping, "PORTION", 7)
    rig = Rig(tmp_path)
    rig.scripted(refusing_all)
    async with rig.running(d=SCRIPTED):
        await rig.append_many(30)
        await rig.settle()
        assert await rig.delivery.dropper.drop(ParkedFilter(destination="d")) == {"d": 30}
        assert rig.state.parked("d") == []


async def test_in_strict_order_dropping_the_one_that_holds_the_line_lets_it_go_on(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.scripted(refusing("m1", "m3"))
    async with rig.running(d=STRICT):
        await rig.append_many(5)
        await rig.until(lambda: rig.status()["parked"])
        assert rig.low() == 1
        await rig.delivery.dropper.drop(ParkedFilter(message_id="m1"))
        await rig.until(lambda: "m3" in {one.message_id for one in rig.state.parked("d")})
        await rig.delivery.dropper.drop(ParkedFilter(destination="d"))
        await rig.settle()
        assert rig.status()["parked"] == 0
    assert [m for m in rig.sent if m not in ("m1", "m3")] == ["m0", "m2", "m4"]


async def test_of_several_that_hold_the_line_the_others_hold_it_still(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.scripted(refusing("m1", "m3"))
    async with rig.running(d={**STRICT, "batch": {"max_events": 9}}):
        await rig.append_many(5)
        await rig.until(lambda: rig.status()["parked"] == 2)
        await rig.delivery.dropper.drop(ParkedFilter(message_id="m1"))
        await rig.as_time_passes(lambda: rig.low() == 3)
        assert [one.message_id for one in rig.state.parked("d")] == ["m3"]
        assert rig.sent.count("m1") == 1


@pytest.mark.parametrize("options", [{"enabled": False}, {}], ids=["disabled", "paused"])
async def test_a_line_that_rests_goes_on_behind_what_was_dropped(
    tmp_path: Path, options: dict[str, object]
) -> None:
    rig = Rig(tmp_path)
    rig.scripted(refusing("m0"))
    async with rig.running(d=STRICT):
        await rig.append_many(3)
        await rig.until(lambda: rig.status()["parked"])
        await rig.delivery.apply(rig.config({"d": {**STRICT, **options}}))
        await rig.delivery.by_hand.pause(["d"])
        before = len(rig.sent)
        await rig.delivery.dropper.drop(ParkedFilter(destination="d"))
        assert rig.status()["state"] in ("disabled", "paused by hand")
        await rig.delivery.by_hand.resume(["d"])
        await rig.delivery.apply(rig.config({"d": STRICT}))
        await rig.settle()
    assert rig.sent[before:] == ["m1", "m2"]


async def test_those_of_a_destination_that_is_gone_can_be_dropped(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.scripted(refusing_all)
    async with rig.running(d=SCRIPTED):
        await rig.append_many(2)
        await rig.settle()
        await rig.delivery.apply(rig.config({}))
        assert await rig.delivery.dropper.drop(ParkedFilter(destination="d")) == {"d": 2}
