"""Replays: what is stored goes to one destination again, beside its live traffic."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from cdpd.delivery.jobs import JobError
from cdpd.delivery.jobs_table import Job
from cdpd.delivery.replay import LATEST, Selection
from cdpd.delivery.replay_survey import Row
from cdpd.destinations.contract import Batch
from cdpd.destinations.outcome import BadEvent, Delivered, Outcome, Skipped
from cdpd.timestamp import format_time

from .rig import Rig

SCRIPTED = {"type": "scripted"}


async def replay(
    rig: Rig,
    name: str = "d",
    start: str = "beginning",
    end: str = "now",
    rate: str | None = None,
    **chosen: Any,
) -> Job:
    """Begin one; `chosen` as in Selection."""
    spec = await rig.delivery.jobs.plan_replay(name, start, end, Selection(**chosen), rate)
    return await rig.delivery.jobs.replay(name, spec)


def ended(rig: Rig, job: Job) -> Callable[[], bool]:
    return lambda: rig.delivery.jobs.job(job.id).state != "running"


async def replayed(rig: Rig, **given: Any) -> list[str]:
    """The messageIds that a replay sent, at its end."""
    del rig.batches[:]
    await rig.until(ended(rig, await replay(rig, **given)))
    return rig.sent


def at(rig: Rig, seconds: float = 0) -> str:
    """The rig's time, as receivedAt has it."""
    return format_time(rig.clock.now_ms() + round(seconds * 1000))


async def apply(rig: Rig, **destinations: Mapping[str, Any]) -> None:
    await rig.delivery.apply(rig.config(destinations))


# -- what goes ---------------------------------------------------------------------------------------------


async def test_every_event_goes_again_once_and_the_live_cursor_and_figures_stay(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.scripted()
    async with rig.running(d=SCRIPTED):
        await rig.append_many(250)
        await rig.settle()
        await rig.until(lambda: rig.status()["delivered"] == 250)
        live = rig.metrics.snapshot()
        del rig.batches[:]
        job = await replay(rig)
        assert job.id == "replay-1"
        await rig.until(ended(rig, job))
        assert (job.state, job.counts.delivered) == ("done", 250)
        assert Counter(rig.sent) == Counter({f"m{n}": 1 for n in range(250)})
        assert rig.low() == 250
        counted = rig.metrics.snapshot()
        assert counted.pop("cdpd_job_events_total") == {"d,replay,delivered": 250}
        assert counted == live
        assert {attempt.outcome for attempt in rig.state.attempts("d")} == {"delivered"}
        assert {job for (job,) in rig.state.rows("select job from attempts")} == {"", "replay-1"}
        shown = rig.delivery.jobs.status(job)
        assert (shown["state"], shown["done"], shown["total"]) == ("done", 250, 250)


async def test_integrations_name_only_this_destination_and_all_else_stays_as_it_is(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.scripted()
    line = (
        b'{"messageId":"m0","type":"track","event":"E","userId":"u","properties":{"b": 12345678901234567890,"p":1.10},'
        b'"context":{"consent":{"categoryPreferences":{"ads":false}}},"timestamp":"2020-01-01T00:00:00.000Z",'
        b'"receivedAt":"2026-01-31T12:00:01.000Z","projectId":"website","integrations":%b}'
    )
    async with rig.running(d={**SCRIPTED, "enabled": False}):
        await rig.append(line % b'{"Scripted":false}', line % b'{"All":false,"Scripted":{"k":1}}')
        await replayed(rig)
    for event in [event for batch in rig.batches for event in batch.events]:
        assert event.line() == line % b'{"All":false,"Scripted":true}'
        assert event.options.plain() == {}, "the event's own options are lost"


async def test_only_what_is_chosen_goes(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.scripted()
    async with rig.running(d={**SCRIPTED, "enabled": False}):
        await rig.append(
            {"event": "A"},
            {"event": "B"},
            {"event": "A", "projectId": "shop"},
            {"type": "page", "event": None, "name": "A"},
            {"type": "identify", "event": None},
            {"event": 7},
        )
        assert await replayed(rig, events=["A"]) == ["m0", "m2", "m3"]
        assert await replayed(rig, events=["A", "B"], sources=["website"], types=["track"]) == ["m0", "m1"]
        assert await replayed(rig, types=["identify", "page"]) == ["m3", "m4"]
        assert await replayed(rig, sources=["shop", "none"]) == ["m2"]
        assert len(await replayed(rig)) == 6


async def test_times_are_those_at_which_events_were_received_to_the_millisecond(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.scripted()
    async with rig.running(d={**SCRIPTED, "enabled": False}):
        begin = rig.clock.now_ms()
        for _ in range(5):  # two events in one frame, a second apart; frames 100 s apart
            await rig.append({"receivedAt": at(rig, -1)}, {"receivedAt": at(rig)})
            await rig.clock.advance(100)
        first = [format_time(begin + 100_000 * n - 1000) for n in range(5)]
        second = [format_time(begin + 100_000 * n) for n in range(5)]
        assert await replayed(rig, start=second[1], end=second[3]) == ["m3", "m4", "m5", "m6"]
        assert await replayed(rig, start=first[1], end=first[3]) == ["m2", "m3", "m4", "m5"]
        assert await replayed(rig, start=second[4]) == ["m9"]
        assert await replayed(rig, end=second[0]) == ["m0"]
        assert await replayed(rig, start="3", end="5") == ["m3", "m4"]
        with pytest.raises(JobError, match=r"there is no event from .* stored are offsets 0 to 9"):
            await replay(rig, start=at(rig, 1))
        with pytest.raises(JobError, match="there is no event"):
            await replay(rig, end=format_time(begin - LATEST - 1))
        with pytest.raises(JobError, match="it ends before it begins"):
            await replay(rig, start=second[3], end=second[1])


async def test_what_was_brought_in_later_counts_by_the_time_of_that(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.scripted()
    async with rig.running(d={**SCRIPTED, "enabled": False}):
        await rig.append(
            {"receivedAt": "2019-01-01T00:00:00.000Z"}, {"receivedAt": "no time"}, {"receivedAt": None}
        )
        assert await replayed(rig, start=at(rig)) == ["m0", "m1", "m2"]


async def test_the_end_is_that_of_the_moment_at_which_it_began(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    gate = asyncio.Event()

    async def slow(batch: Batch) -> list[Outcome]:
        await gate.wait()
        return [Delivered()] * len(batch.events)

    rig.scripted(slow)
    async with rig.running(d={**SCRIPTED, "enabled": False}):
        await rig.append_many(30)
        job = await replay(rig)
        await rig.until(lambda: rig.batches)
        await rig.append_many(30)
        gate.set()
        await rig.until(ended(rig, job))
    assert sorted(rig.sent) == sorted(f"m{n}" for n in range(30))


async def test_the_destinations_own_rules_hold_and_are_counted(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    codes: list[Outcome] = [Skipped("NOTHING_TO_SAY")]
    rig.scripted(
        lambda batch: [codes.pop() if codes else Delivered() for _ in batch.events],
        supports=frozenset(("track",)),
    )
    async with rig.running(d={**SCRIPTED, "enabled": False, "sources": ["website"]}):
        await rig.append(
            {}, {"projectId": "shop"}, {"type": "page"}, {"type": "page"}, {"projectId": "shop"}, {}
        )
        job = await replay(rig)
        await rig.until(ended(rig, job))
        assert (job.counts.delivered, job.counts.skipped) == (1, 1)
        assert job.counts.filtered == {"SOURCE_NOT_CONNECTED": 2, "UNSUPPORTED_EVENT_TYPE": 2}
        assert rig.metrics.snapshot() == {
            "cdpd_job_events_total": {"d,replay,delivered": 1, "d,replay,skipped": 1, "d,replay,filtered": 4}
        }


async def test_each_users_order_holds(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    failed: set[int] = set()

    def flaky(batch: Batch) -> list[Outcome]:
        key = len(rig.batches)
        if key % 3 == 1 and key not in failed:
            failed.add(key)
            raise OSError("down")
        return [Delivered()] * len(batch.events)

    kind = rig.scripted(flaky, concurrency=3)
    async with rig.running(d={**SCRIPTED, "enabled": False, "batch": {"max_events": 7}}):
        await rig.append_many(200, users=9)
        job = await replay(rig)
        await rig.as_time_passes(ended(rig, job))
    assert kind.made
    assert job.counts.retried > 0
    for user in range(9):
        firsts = [n for n in (int(m[1:]) for m in dict.fromkeys(rig.sent)) if n % 9 == user]
        assert firsts == sorted(firsts)


# -- where it goes -----------------------------------------------------------------------------------------


async def test_it_goes_into_a_destination_that_is_disabled_or_paused_for_live_traffic(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.scripted()
    async with rig.running(d={**SCRIPTED, "enabled": False, "from": "beginning"}):
        await rig.append_many(20)
        assert len(await replayed(rig)) == 20
        assert rig.status()["state"] == "disabled"
        assert rig.low() == 0
        await apply(rig, d={**SCRIPTED, "from": "beginning"})
        await rig.settle()
        await rig.delivery.by_hand.pause(["d"])
        await rig.append_many(5)
        assert len(await replayed(rig)) == 25
        assert rig.low() == 20
        await rig.delivery.by_hand.resume(["d"])
        await rig.settle()


async def test_live_traffic_goes_on_while_a_replay_hangs(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    gate = asyncio.Event()

    async def behave(batch: Batch) -> list[Outcome]:
        if "integrations" in batch.events[0]:  # only those of a replay have any
            await gate.wait()
        return [Delivered()] * len(batch.events)

    rig.scripted(behave)
    async with rig.running(d=SCRIPTED):
        await rig.append_many(10)
        await rig.settle()
        job = await replay(rig)
        await rig.append_many(10)
        await rig.settle()
        assert job.counts.settled == 0
        gate.set()
        await rig.until(ended(rig, job))


async def test_two_into_one_destination_go_one_after_the_other_and_into_two_at_once(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    gate = asyncio.Event()

    async def slow(batch: Batch) -> list[Outcome]:
        await gate.wait()
        return [Delivered()] * len(batch.events)

    rig.scripted(slow)
    off = {**SCRIPTED, "enabled": False}
    async with rig.running(d=off, e=off):
        await rig.append_many(3)
        first, second, other = await replay(rig), await replay(rig), await replay(rig, "e")
        await rig.until(lambda: len(rig.batches) == 2)
        states = [rig.delivery.jobs.status(job)["state"] for job in (first, second, other)]
        assert states == ["running", "queued", "running"]
        gate.set()
        await rig.until(ended(rig, second))
        assert [job.state for job in (first, second, other)] == ["done"] * 3


async def test_what_is_refused_is_parked_and_what_was_parked_and_goes_now_is_so_no_longer(
    tmp_path: Path,
) -> None:
    rig = Rig(tmp_path)
    bad = {"m1", "m3"}

    def behave(batch: Batch) -> list[Outcome]:
        return [BadEvent("no", 400, "q", "a") if e.message_id in bad else Delivered() for e in batch.events]

    rig.scripted(behave)
    async with rig.running(d=SCRIPTED):
        await rig.append_many(5)
        await rig.settle()
        bad.remove("m1")
        bad.add("m4")
        job = await replay(rig)
        await rig.until(ended(rig, job))
        assert job.counts.parked == 2
        assert {event.message_id: event.attempts for event in rig.state.parked("d")} == {"m3": 2, "m4": 1}
        assert rig.status()["parked"] == 2
        kept = {event.message_id: json.loads(event.line) for event in rig.state.parked("d")}
        assert "integrations" not in kept["m3"], "it stays as it was parked first"
        assert kept["m4"]["integrations"] == {"All": False, "Scripted": True}


async def test_what_there_is_not_is_refused(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.scripted()
    async with rig.running(d=SCRIPTED):
        with pytest.raises(JobError, match="there is no event from beginning to now; nothing is stored yet"):
            await replay(rig)
        with pytest.raises(
            JobError, match="there is no destination 'e' in the configuration that runs; there are: d"
        ):
            await replay(rig, "e")
        with pytest.raises(JobError, match="'soon' is no place in the archive"):
            await replay(rig, start="soon")
        with pytest.raises(JobError, match="there is no job 'replay-9'"):
            await rig.delivery.jobs.cancel("replay-9")


async def test_a_rate_holds(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.scripted()
    async with rig.running(d={**SCRIPTED, "enabled": False}):
        await rig.append_many(100)
        began = rig.clock.elapsed
        job = await replay(rig, rate="10/s")
        await rig.as_time_passes(ended(rig, job))
        assert rig.clock.elapsed - began >= 8
        assert len(rig.sent) == 100


# -- looking first -----------------------------------------------------------------------------------------


async def test_a_survey_tells_what_would_go_and_what_not_and_sends_nothing(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.scripted(supports=frozenset(("track", "page")))
    async with rig.running(d={**SCRIPTED, "enabled": False, "sources": ["website"]}):
        await rig.append(
            {}, {}, {"type": "page", "name": "Home"}, {"projectId": "shop"}, {"type": "group"}, b"[1]"
        )
        jobs = rig.delivery.jobs
        spec = await jobs.plan_replay("d", "beginning", "now", Selection())
        portion = await jobs.survey("d", spec, spec.start)
        assert portion.over
        assert portion.done == spec.total == 6
        assert set(portion.rows) == {
            Row("website", "track", "Signed Up", "", 2),
            Row("website", "page", "Home", "", 1),
            Row("shop", "track", "Signed Up", "SOURCE_NOT_CONNECTED", 1),
            Row("website", "group", "", "UNSUPPORTED_EVENT_TYPE", 1),
            Row("", "", "", "NOT_AN_EVENT", 1),
        }
        assert not jobs.all()
    assert not rig.batches
