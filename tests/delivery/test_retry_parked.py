"""Parked events that are sent again: by today's rules, once, and gone from `parked` where they are delivered."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from cdpd.delivery.jobs import JobError
from cdpd.delivery.jobs_table import Job
from cdpd.delivery.parked import ParkedFilter
from cdpd.destinations.contract import Batch
from cdpd.destinations.outcome import BadEvent, Delivered, Outcome

from .rig import Rig
from .test_replay import SCRIPTED, apply, ended


class Fussy:
    """Refuses the events that are `bad`."""

    def __init__(self, rig: Rig, *bad: str, concurrency: int = 2) -> None:
        self.bad = set(bad)
        self.words = "no such plan"
        self.rig = rig
        rig.scripted(self.behave, concurrency=concurrency)

    def behave(self, batch: Batch) -> list[Outcome]:
        return [
            BadEvent(self.words, 422, "q", self.words) if event.message_id in self.bad else Delivered()
            for event in batch.events
        ]


async def retried(rig: Rig, **which: object) -> Job:
    """The one job of a retry, at its end; what is sent from here on is in `rig.sent`."""
    del rig.batches[:]
    ((job,), held) = await rig.delivery.jobs.retry_parked(msgspec.convert(which, ParkedFilter))
    assert not held
    await rig.until(ended(rig, job))
    return job


def parked(rig: Rig) -> dict[str, int]:
    """messageId → how often it was refused."""
    return {event.message_id: event.attempts for event in rig.state.parked("d")}


async def test_delivered_they_are_parked_no_longer_and_the_live_cursor_stays(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    vendor = Fussy(rig, "m1", "m3", "m4")
    async with rig.running(d=SCRIPTED):
        await rig.append_many(6)
        await rig.settle()
        vendor.bad.clear()
        job = await retried(rig)
        assert job.id == "retry-1"
        assert sorted(rig.sent) == ["m1", "m3", "m4"]
        assert (job.state, job.counts.delivered, parked(rig)) == ("done", 3, {})
        assert rig.status()["parked"] == 0
        assert (rig.low(), rig.status()["delivered"]) == (6, 3)
        assert rig.metrics.snapshot()["cdpd_job_events_total"] == {"d,retry,delivered": 3}
        assert await rig.delivery.jobs.retry_parked(ParkedFilter()) == ([], {})


async def test_refused_again_they_stay_with_the_new_answer(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    vendor = Fussy(rig, "m1", "m3")
    async with rig.running(d=SCRIPTED):
        await rig.append_many(5)
        await rig.settle()
        before = {event.message_id: event for event in rig.state.parked("d")}
        vendor.bad.remove("m1")
        vendor.words = "still no such plan"
        await rig.clock.advance(60)
        job = await retried(rig)
        assert (job.counts.delivered, job.counts.parked) == (1, 1)
        (event,) = rig.state.parked("d")
        assert (event.message_id, event.attempts, event.answer) == ("m3", 2, "still no such plan")
        assert event.line == before["m3"].line
        assert event.at_ms == before["m3"].at_ms, "it keeps the time at which it was parked"


async def test_only_what_is_meant_goes_and_nothing_that_is_parked_meanwhile(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    vendor = Fussy(rig, "m0", "m1", "m2", "m3")
    async with rig.running(d=SCRIPTED):
        await rig.append({"event": "A"}, {"event": "B"}, {"event": "A", "projectId": "shop"})
        await rig.settle()
        jobs = rig.delivery.jobs
        found = await jobs.count_parked(ParkedFilter(event="A"))
        assert {name: (spec.total if spec else 0, held) for name, (spec, held) in found.items()} == {
            "d": (2, 0)
        }
        await rig.append({"event": "A"})
        await rig.settle()
        spec = found["d"][0]
        assert spec is not None
        assert spec.newest < max(id for (id,) in rig.state.rows("select id from parked"))
        vendor.bad.clear()
        await retried(rig, event="A", source="website")
        assert rig.sent == ["m0", "m3"]
        await retried(rig, message_id="m2")
        assert rig.sent == ["m2"]
        assert parked(rig) == {"m1": 1}


async def test_todays_rules_of_the_destination_apply_and_what_they_leave_out_stays_parked(
    tmp_path: Path,
) -> None:
    rig = Rig(tmp_path)
    vendor = Fussy(rig, "m0", "m1", "m2")
    async with rig.running(d=SCRIPTED):
        await rig.append({}, {"projectId": "shop"}, {})
        await rig.settle()
        vendor.bad.clear()
        await apply(rig, d={**SCRIPTED, "sources": ["website"]})
        job = await retried(rig)
        assert rig.sent == ["m0", "m2"]
        assert job.counts.filtered == {"SOURCE_NOT_CONNECTED": 1}
        assert parked(rig) == {"m1": 1}
        assert rig.delivery.jobs.status(job)["done"] == 3


async def test_into_a_destination_that_is_disabled_and_each_users_order_holds(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    vendor = Fussy(rig, *(f"m{n}" for n in range(120)), concurrency=3)
    off = {**SCRIPTED, "batch": {"max_events": 7}}
    async with rig.running(d=off):
        await rig.append_many(120, users=5)
        await rig.settle()
        vendor.bad.clear()
        await apply(rig, d={**off, "enabled": False})
        job = await retried(rig)
        assert job.counts.delivered == len(rig.sent) == 120
    for user in range(5):
        sent = [n for n in (int(m[1:]) for m in rig.sent) if n % 5 == user]
        assert sent == sorted(sent)


async def test_many_are_read_in_portions(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    vendor = Fussy(rig, *(f"m{n}" for n in range(5000)))
    async with rig.running(d=SCRIPTED):
        await rig.append_many(5000)
        await rig.settle()
        vendor.bad = {f"m{n}" for n in range(0, 5000, 100)}
        job = await retried(rig)
        assert (job.counts.delivered, job.counts.parked) == (4950, 50)
        assert set(parked(rig)) == vendor.bad
        assert len(rig.sent) == len(set(rig.sent)) == 5000


async def test_after_a_restart_it_goes_on_and_no_event_goes_twice(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    vendor = Fussy(rig, *(f"m{n}" for n in range(300)), concurrency=1)
    gate = asyncio.Event()
    async with rig.open():
        async with rig.delivering(d=SCRIPTED):
            await rig.append_many(300)
            await rig.settle()
        vendor.bad.clear()
        del rig.batches[:]

        async def slow(batch: Batch) -> list[Outcome]:
            await gate.wait()
            return vendor.behave(batch)

    again = Rig(tmp_path, rig.clock)
    again.scripted(slow, concurrency=1)
    async with again.running(d=SCRIPTED):
        ((job,), _) = await again.delivery.jobs.retry_parked(ParkedFilter())
        await again.until(lambda: again.batches)
        asyncio.get_running_loop().call_later(0.05, gate.set)
    assert (job.state, job.counts.delivered) == ("running", 100)
    last = Rig(tmp_path, rig.clock)
    last.scripted()
    async with last.running(d=SCRIPTED):
        job = last.delivery.jobs.job(job.id)
        await last.until(ended(last, job))
        assert (job.state, job.counts.delivered, parked(last)) == ("done", 300, {})
    assert sorted(again.sent + last.sent) == sorted(f"m{n}" for n in range(300))


async def test_what_is_dropped_meanwhile_is_not_missed(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    Fussy(rig, *(f"m{n}" for n in range(3000)))
    async with rig.running(d=SCRIPTED):
        await rig.append_many(3000)
        await rig.settle()
        dropping: list[asyncio.Task[object]] = []

        async def drop_first(batch: Batch) -> list[Outcome]:
            if not dropping:
                which = ParkedFilter(message_id="m2999")
                dropping.append(asyncio.create_task(rig.delivery.dropper.drop(which)))
                await dropping[0]
            return [Delivered()] * len(batch.events)

        rig.scripted(drop_first)
        await apply(rig, d={**SCRIPTED, "note": "new"})
        job = await retried(rig)
        assert (job.state, job.counts.delivered, parked(rig)) == ("done", 2999, {})
        assert "m2999" not in rig.sent


async def test_with_strict_order_those_that_hold_the_line_are_tried_by_the_live_consumer_at_once(
    tmp_path: Path,
) -> None:
    rig = Rig(tmp_path)
    vendor = Fussy(rig, "m1", "m3")
    async with rig.running(d=SCRIPTED):
        await rig.append_many(2)
        await rig.settle()
        await apply(rig, d={**SCRIPTED, "ordering": "strict"})
        await rig.append_many(3)
        await rig.until(lambda: set(parked(rig)) == {"m1", "m3"})
        await rig.until(held_up(rig))
        vendor.bad.clear()
        del rig.batches[:]
        ((job,), held) = await rig.delivery.jobs.retry_parked(ParkedFilter())
        assert held == {"d": 1}
        await rig.until(ended(rig, job))
        await rig.settle()
        assert job.counts.delivered == 1, "m1 was parked before order was strict"
        assert sorted(rig.sent) == ["m1", "m3"]
        assert parked(rig) == {}


def held_up(rig: Rig) -> Callable[[], bool]:
    return lambda: rig.status()["state"] == "paused" and not rig.status()["in_flight"]


async def test_what_is_parked_at_a_destination_that_is_not_configured_is_refused(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    Fussy(rig, "m0")
    async with rig.running(d=SCRIPTED, e={**SCRIPTED, "enabled": False}):
        await rig.append_many(1)
        await rig.settle()
        await apply(rig, e={**SCRIPTED, "enabled": False})
        with pytest.raises(JobError, match="there is no destination 'd' in the configuration"):
            await rig.delivery.jobs.retry_parked(ParkedFilter())
        assert not rig.delivery.jobs.all()
        assert await rig.delivery.jobs.retry_parked(ParkedFilter(destination="e")) == ([], {})
