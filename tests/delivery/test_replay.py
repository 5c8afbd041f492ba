"""Replays: what is stored goes to one destination again, beside its live traffic."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cdpd import metrics as names
from cdpd.delivery.jobs import JobError
from cdpd.delivery.jobs_table import Job
from cdpd.delivery.replay import Selection
from cdpd.destinations.contract import Batch
from cdpd.destinations.outcome import BadEvent, Delivered, Outcome, Skipped, TryAgain
from cdpd.timestamp import format_time

from .rig import Rig

SCRIPTED = {"type": "scripted"}


async def replay(
    rig: Rig, name: str = "d", start: str = "beginning", end: str = "now", rate: str | None = None, **chosen: Any
) -> Job:
    spec = await rig.delivery.jobs.plan_replay(name, start, end, Selection(**chosen), rate)
    return await rig.delivery.jobs.replay(name, spec)


def ended(rig: Rig, job: Job) -> Callable[[], bool]:
    return lambda: rig.delivery.jobs.job(job.id).state != "running"


def at(rig: Rig, seconds: float = 0) -> str:
    """The rig's time, as receivedAt has it."""
    return format_time(rig.clock.now_ms() + round(seconds * 1000))


async def append_now(rig: Rig, *changes: dict[str, Any]) -> None:
    await rig.append(*({"receivedAt": at(rig), **change} for change in changes))


async def test_every_event_goes_again_once_and_the_live_cursor_and_figures_stay(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.scripted()
    async with rig.running(d=SCRIPTED):
        await rig.append_many(250)
        await rig.settle()
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
        shown = rig.delivery.jobs.status(job)
        assert (shown["state"], shown["done"], shown["total"]) == ("done", 250, 250)
