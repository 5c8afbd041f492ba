"""Destinations that are paused by hand: nothing is sent or lost, through reloads, restarts and removal."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

from cdpd.delivery.paused import paused_by_hand
from cdpd.destinations.contract import Batch
from cdpd.destinations.outcome import Delivered, Outcome
from tests.delivery.rig import Rig

SCRIPTED = {"type": "scripted"}


async def test_it_rests_and_goes_on_exactly_where_it_was(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.scripted()
    async with rig.running(d=SCRIPTED, other={"type": "null"}):
        await rig.append_many(3)
        await rig.settle()
        await rig.delivery.by_hand.pause(["d"], "their maintenance")
        await rig.append_many(4)
        await rig.settle("other")
        await rig.clock.advance(3600)
        status = rig.status()
        assert (status["state"], status["lag_events"], status["problem"]) == ("paused by hand", 4, None)
        assert status["paused"] == {"since": "2023-11-14T22:13:20.000Z", "reason": "their maintenance"}
        assert rig.delivery.needed()["destination d"] == 3, "the log is kept for it"
        assert len(rig.sent) == 3
        await rig.delivery.by_hand.resume(["d"])
        await rig.settle()
        assert "paused" not in rig.status()
    assert sorted(rig.sent) == [f"m{n}" for n in range(7)]


async def test_batches_in_flight_end_first_and_are_not_sent_again(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    go = asyncio.Event()

    async def behave(batch: Batch) -> Sequence[Outcome]:
        await go.wait()
        return [Delivered()] * len(batch.events)

    rig.scripted(behave)
    async with rig.running(d=SCRIPTED) as running, asyncio.TaskGroup() as tasks:
        assert running is rig
        await rig.append_many(2)
        await rig.until(lambda: rig.sent)
        pausing = tasks.create_task(rig.delivery.by_hand.pause(["d"]))
        await rig.until(lambda: paused_by_hand(rig.state))
        assert rig.status()["in_flight"]
        assert not pausing.done()
        go.set()
        await rig.until(lambda: rig.status()["state"] == "paused by hand")
        assert rig.low() == 2
        await rig.delivery.by_hand.resume(["d"])
        await rig.append_many(1)
        await rig.settle()
    assert sorted(rig.sent) == ["m0", "m1", "m2"]


async def test_a_reload_a_change_of_options_and_a_restart_do_not_end_it(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.scripted()
    async with rig.running(d=SCRIPTED):
        await rig.delivery.by_hand.pause(["d"], "why")
        await rig.append_many(2)
        await rig.delivery.apply(rig.config({"d": SCRIPTED}))
        await rig.delivery.apply(rig.config({"d": {**SCRIPTED, "note": "another"}}))
        assert rig.status()["state"] == "paused by hand"
    again = Rig(tmp_path, rig.clock)
    again.scripted()
    async with again.running(d=SCRIPTED):
        assert again.status()["paused"]["reason"] == "why"
        assert again.status()["lag_events"] == 2
        await again.delivery.by_hand.resume(["d"])
        await again.settle()
    assert rig.sent == []
    assert sorted(again.sent) == ["m0", "m1"]


async def test_one_that_is_removed_and_comes_back_is_paused_still(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.scripted()
    async with rig.running(d=SCRIPTED):
        await rig.delivery.by_hand.pause(["d"])
        await rig.delivery.apply(rig.config({}))
        await rig.append_many(2)
        await rig.delivery.apply(rig.config({"d": SCRIPTED}))
        assert rig.status()["state"] == "paused by hand"
        await rig.delivery.apply(rig.config({}))
        await rig.delivery.by_hand.resume(["d"])
        await rig.delivery.apply(rig.config({"d": SCRIPTED}))
        await rig.settle()
    assert sorted(rig.sent) == ["m0", "m1"]


async def test_pausing_again_keeps_the_time_and_a_reason_that_is_not_replaced(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.scripted()
    async with rig.running(d=SCRIPTED):
        await rig.delivery.by_hand.pause(["d"], "one")
        since = rig.status()["paused"]["since"]
        await rig.clock.advance(60)
        await rig.delivery.by_hand.pause(["d"])
        assert rig.status()["paused"] == {"since": since, "reason": "one"}
        await rig.delivery.by_hand.pause(["d"], "two")
        assert rig.status()["paused"] == {"since": since, "reason": "two"}
        assert len([entry for entry in rig.told if "paused by hand" in entry["event"]]) == 1


async def test_one_that_is_disabled_and_paused_shows_both(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.scripted()
    async with rig.running(d={**SCRIPTED, "enabled": False}):
        await rig.delivery.by_hand.pause(["d"], "why")
        assert rig.status()["state"] == "disabled"
        assert rig.status()["paused"]["reason"] == "why"
