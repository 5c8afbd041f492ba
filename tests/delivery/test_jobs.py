"""Jobs over restarts, reloads and crashes: they go on where they were, or say loudly why not."""

from __future__ import annotations

import asyncio
import random
import shutil
import sqlite3
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from cdpd.delivery.jobs import JobError
from cdpd.delivery.jobs_table import ENDED_KEPT
from cdpd.delivery.parked import ParkedFilter
from cdpd.delivery.stored import stored_replays
from cdpd.destinations.contract import Batch
from cdpd.destinations.outcome import BadEvent, Delivered, Outcome, Skipped, TryAgain

from .rig import Rig
from .test_replay import SCRIPTED, apply, ended, replay

OFF = {**SCRIPTED, "enabled": False}


def gated(rig: Rig, **attributes: Any) -> asyncio.Event:
    """Install `scripted`, which takes nothing before the gate is open."""
    gate = asyncio.Event()

    async def wait(batch: Batch) -> list[Outcome]:
        await gate.wait()
        return [Delivered()] * len(batch.events)

    rig.scripted(wait, **attributes)
    return gate


# -- restarts and crashes ----------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(8))
async def test_killed_at_any_commit_it_goes_on_there_with_its_counts_and_nothing_settled_goes_again(
    tmp_path: Path, seed: int
) -> None:
    chance = random.Random(seed)
    rig = Rig(tmp_path / "first")
    states: list[Path] = []
    taken: list[list[str]] = []

    def behave(batch: Batch) -> list[Outcome]:
        _copy_state(rig.folder, tmp_path / f"state{len(states)}")
        states.append(tmp_path / f"state{len(states)}")
        taken.append([])
        outcomes: list[Outcome] = []
        for event in batch.events:
            outcome = chance.choice(
                [Delivered()] * 6 + [Skipped("S"), BadEvent("no", 400), TryAgain("later", 503)]
            )
            outcomes.append(outcome)
            if not isinstance(outcome, TryAgain):
                taken[-1].append(event.message_id)
        return outcomes

    rig.scripted(behave, concurrency=1, supports=frozenset(("track", "page")))
    async with rig.running(d={**OFF, "batch": {"max_events": 9}}):
        types = chance.choices(["track", "page", "group", "identify"], k=150)
        await rig.append(*({"type": type_, "userId": f"u{i % 7}"} for i, type_ in enumerate(types)))
        await rig.as_time_passes(ended(rig, await replay(rig, types=["track", "page", "group"])))
    chosen = [i for i, type_ in enumerate(types) if type_ != "identify"]
    goes = [f"m{i}" for i in chosen if types[i] != "group"]
    for n in chance.sample(range(len(states)), 6):
        again = Rig(tmp_path / "again", rig.clock)
        shutil.rmtree(again.folder, ignore_errors=True)
        shutil.copytree(rig.folder / "events", again.folder / "events")
        shutil.copy(states[n], again.folder / "state.db")
        again.scripted(supports=frozenset(("track", "page")))
        async with again.running(d=OFF):
            job = again.delivery.jobs.job("replay-1")
            await again.until(ended(again, job))
            counts = job.counts
            parked = [event.message_id for event in again.state.parked("d")]
        before = [message for batch in taken[:n] for message in batch]
        assert Counter(before + again.sent) == Counter(goes), "settled before, or sent after: each once"
        assert counts.filtered == {"UNSUPPORTED_EVENT_TYPE": len(chosen) - len(goes)}
        assert counts.settled == len(chosen)
        assert len(parked) == counts.parked


def _copy_state(folder: Path, target: Path) -> None:
    """As a crash at this moment would leave it."""
    with closing(sqlite3.connect(folder / "state.db")) as source, closing(sqlite3.connect(target)) as copy:
        source.backup(copy)


async def test_a_stopped_daemon_lets_batches_in_flight_end_and_the_job_goes_on_after_the_start(
    tmp_path: Path,
) -> None:
    rig = Rig(tmp_path)
    gate = gated(rig, concurrency=1)
    async with rig.open():
        async with rig.delivering(d=OFF):
            await rig.append_many(300)
            job = await replay(rig)
            await rig.until(lambda: rig.batches)
            asyncio.get_running_loop().call_later(0.05, gate.set)
        assert (job.state, job.counts.delivered) == ("running", 100)
    again = Rig(tmp_path, rig.clock)
    again.scripted()
    async with again.running(d=OFF):
        job = again.delivery.jobs.job("replay-1")
        await again.until(ended(again, job))
        assert (job.state, job.counts.delivered) == ("done", 300)
    assert Counter(rig.sent + again.sent) == Counter({f"m{n}": 1 for n in range(300)})
    assert any(entry["event"] == "a job goes on after the restart" for entry in again.told)


# -- ended by somebody -------------------------------------------------------------------------------------


async def test_cancelled_it_ends_after_what_is_in_flight_and_may_go_on_later(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    gate = gated(rig, concurrency=1)
    async with rig.running(d=OFF):
        await rig.append_many(300)
        jobs, job = rig.delivery.jobs, await replay(rig)
        waiting = await replay(rig)
        assert (await jobs.cancel(waiting.id)).state == "cancelled"
        await rig.until(lambda: rig.batches)
        async with asyncio.TaskGroup() as tasks:
            cancelling = tasks.create_task(jobs.cancel(job.id))
            await asyncio.sleep(0)
            gate.set()
        assert cancelling.result().state == "cancelled"
        assert job.counts.delivered == len(rig.sent) == 100
        with pytest.raises(JobError, match="replay-1 has ended already: it is cancelled"):
            await jobs.cancel(job.id)
        assert stored_replays(rig.state.path) == {}, "it holds no segments of the archive"
        await jobs.resume(job.id)
        await rig.until(ended(rig, job))
        assert (job.state, len(rig.sent)) == ("done", 300)
        with pytest.raises(JobError, match="only what failed or was cancelled can go on"):
            await jobs.resume(job.id)


async def test_a_batch_that_hangs_is_given_up_after_a_while(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    gated(rig)
    async with rig.running(d=OFF):
        await rig.append_many(5)
        job = await replay(rig)
        await rig.until(lambda: rig.batches)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(rig.delivery.jobs.cancel(job.id))
            await rig.as_time_passes(ended(rig, job), longest=20)
        assert (job.state, job.counts.settled, job.cursor.low.offset) == ("cancelled", 0, 0)


async def test_with_strict_order_a_refused_event_holds_the_job_until_it_is_dropped(tmp_path: Path) -> None:
    rig = Rig(tmp_path)

    def behave(batch: Batch) -> list[Outcome]:
        return [BadEvent("no", 400) if e.message_id in ("m2", "m4") else Delivered() for e in batch.events]

    rig.scripted(behave)
    async with rig.running(d={**OFF, "ordering": "strict", "batch": {"max_events": 1}}):
        await rig.append_many(7)
        jobs, job = rig.delivery.jobs, await replay(rig)
        for held in ("m2", "m4"):
            await rig.until(lambda h=held: [event.message_id for event in rig.state.parked("d")] == [h])
            assert jobs.status(job)["state"] == "paused"
            if held == "m2":
                await rig.clock.advance(2000)  # it is probed now and then, and counts once
                await rig.until(lambda: rig.state.parked("d")[0].attempts > 1)
            assert "holds the later ones" in jobs.status(job)["problem"]
            await rig.delivery.dropper.drop(ParkedFilter())
        await rig.until(ended(rig, job))
        assert job.state == "done"
        assert list(dict.fromkeys(rig.sent)) == [f"m{n}" for n in range(7)]
        assert (job.counts.delivered, job.counts.parked) == (5, 2)
        assert not rig.state.parked("d")


# -- reloads -----------------------------------------------------------------------------------------------


async def test_a_reload_that_changes_the_destination_lets_it_go_on_with_the_new_options(
    tmp_path: Path,
) -> None:
    rig = Rig(tmp_path)
    notes: list[str] = []
    gate = gated(rig, concurrency=1)
    kind = rig.kinds["scripted"]
    async with rig.running(d=OFF, e=OFF):
        await rig.append_many(300)
        job, other = await replay(rig), await replay(rig, "e")
        await rig.until(lambda: len(rig.batches) == 2)
        gate.set()
        await apply(rig, d={**OFF, "note": "new"}, e=OFF)
        await rig.until(lambda: ended(rig, job)() and ended(rig, other)())
        notes = [one.config.note for one in kind.made]  # type: ignore[attr-defined]  # Scripted remembers them
        assert notes == ["", "", "new"], "the other one did not notice"
        assert Counter(rig.sent) == Counter({f"m{n}": 2 for n in range(300)})
        assert job.state == other.state == "done"


async def test_a_destination_that_is_gone_fails_its_jobs_loudly_and_they_can_go_on_when_it_is_back(
    tmp_path: Path,
) -> None:
    rig = Rig(tmp_path)
    gate = gated(rig, concurrency=1)
    async with rig.running(d=OFF, e=OFF):
        await rig.append_many(300)
        job = await replay(rig)
        await rig.until(lambda: rig.batches)
        gate.set()
        await apply(rig, e=OFF)
        assert job.state == "failed"
        assert "the destination is no longer in the configuration" in job.problem
        assert "`cdpd replay resume replay-1`" in job.problem
        assert any(entry["level"] == "error" and entry.get("job") == job.id for entry in rig.told)
        with pytest.raises(JobError, match="there is no destination 'd'"):
            await rig.delivery.jobs.resume(job.id)
        await apply(rig, d=OFF, e=OFF)
        await rig.delivery.jobs.resume(job.id)
        await rig.until(ended(rig, job))
        assert job.state == "done"
        assert Counter(rig.sent) == Counter({f"m{n}": 1 for n in range(300)})


async def test_a_destination_that_is_renamed_keeps_its_jobs(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    gate = gated(rig, concurrency=1)
    async with rig.running(old=OFF):
        await rig.append_many(300)
        job = await replay(rig, "old")
        await rig.until(lambda: rig.batches)
        gate.set()
        await apply(rig, new={**OFF, "was": "old"})
        await rig.until(ended(rig, job))
        assert (job.destination, job.state, job.problem) == ("new", "done", "")
        assert Counter(rig.sent) == Counter({f"m{n}": 1 for n in range(300)})
        assert {attempt.outcome for attempt in rig.state.attempts("new")} == {"delivered"}


async def test_a_wrong_configuration_leaves_jobs_running(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    gate = gated(rig)
    async with rig.running(d=OFF):
        await rig.append_many(5)
        job = await replay(rig)
        await rig.until(lambda: rig.batches)
        with pytest.raises(Exception, match="no destination 'no_such_type'"):
            await apply(rig, d={**OFF, "note": "new"}, e={"type": "no_such_type"})
        gate.set()
        await rig.until(ended(rig, job))
        assert (job.state, len(rig.sent)) == ("done", 5)


# -- what cannot be ----------------------------------------------------------------------------------------


async def test_an_archive_that_cannot_be_read_on_fails_it_with_the_reason(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.scripted()
    async with rig.running(d=OFF):
        await rig.append_many(5)
        (segment,) = (tmp_path / "events").glob("*.zst")
        content = bytearray(segment.read_bytes())
        content[-9] ^= 0xFF
        segment.write_bytes(content)
        job = await replay(rig)
        await rig.until(ended(rig, job))
        assert job.state == "failed"
        assert "damaged log" in job.problem
        assert rig.delivery.jobs.status(job)["problem"] == job.problem


async def test_a_destination_whose_own_code_fails_is_made_again_and_says_why(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    kind = rig.scripted()
    failures = [RuntimeError("not today"), RuntimeError("not today")]

    async def start(self: object) -> None:
        if failures:
            raise failures.pop()

    kind.start = start  # type: ignore[method-assign]  # the test's own class
    async with rig.running(d=OFF):
        await rig.append_many(5)
        job = await replay(rig)
        await rig.until(lambda: rig.delivery.jobs.status(job)["problem"])
        assert rig.delivery.jobs.status(job)["problem"] == "RuntimeError: not today"
        await rig.as_time_passes(ended(rig, job))
        assert (job.state, len(rig.sent)) == ("done", 5)


async def test_while_the_vendor_is_away_it_says_so(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    down = [True]

    def behave(batch: Batch) -> list[Outcome]:
        return [TryAgain("it answered 503", 503) if down else Delivered()] * len(batch.events)

    rig.scripted(behave)
    async with rig.running(d=OFF):
        await rig.append_many(5)
        job = await replay(rig)
        await rig.until(lambda: rig.delivery.jobs.status(job)["waiting_to_retry"])
        shown = rig.delivery.jobs.status(job)
        assert (shown["state"], shown["problem"]) == ("retrying", "it answered 503")
        down.clear()
        await rig.as_time_passes(ended(rig, job))
        assert job.state == "done"


async def test_running_replays_hold_the_archive_from_their_cursors_on(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    gate = gated(rig)
    async with rig.running(d=OFF):
        await rig.append_many(5)
        job = await replay(rig, start="2")
        assert {id: cursor.low.offset for id, cursor in stored_replays(rig.state.path).items()} == {
            "replay-1": 2
        }
        gate.set()
        await rig.until(ended(rig, job))
        assert stored_replays(rig.state.path) == {}


async def test_only_so_many_ended_ones_are_remembered(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.scripted()
    async with rig.running(d=OFF):
        await rig.append_many(1)
        for _ in range(ENDED_KEPT + 3):
            job = await replay(rig)
            await rig.until(ended(rig, job))
        assert job.id == f"replay-{ENDED_KEPT + 3}"
        assert rig.delivery.jobs.all()[0].id == "replay-4"
    async with Rig(tmp_path, rig.clock).running(d={"type": "null"}) as again:
        assert len(again.delivery.jobs.all()) == ENDED_KEPT
        assert not await again.delivery.jobs.count_parked(ParkedFilter())
