"""Every line of `received` comes to `events` or `discarded` exactly once and in order, whatever happens between:
cancellation at any await, appends that fail, killed processes, power losses. Real streams on a simulated disk.

`CDPD_PIPELINE_EXAMPLES=2000 pytest tests/pipeline/test_exactly_once.py` runs longer than the ordinary 60 examples.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random
from typing import Any, TypeVar
from unittest import mock

import anyio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cdpd.event import Event
from cdpd.hookspecs import Discard, Retry, hookimpl
from cdpd.log.errors import AppendFailed
from cdpd.log.thread import OneThread
from cdpd.pipeline.pipeline import Pipeline
from cdpd.plugins import Plugin
from tests.clock import FakeClock
from tests.log.disk import KINDS, Disk, Fault
from tests.pipeline.rig import CONFIG_ID, Rig, configuration, received_line

T = TypeVar("T")


async def inline(work: Callable[..., T], *args: Any, **_: Any) -> T:
    """In place of a worker thread, so that an example is the same each time."""
    for _i in range(2):
        await asyncio.sleep(0)
    return work(*args)


async def inline_on_thread(_: OneThread, work: Callable[..., T], *args: Any) -> T:
    return await inline(work, *args)


class Picky(Plugin):
    """Discards, fails and asks again, for one event or another; now and then it lets others run."""

    chance = Random(0)

    @hookimpl
    async def cdpd_prepare(self, events: Sequence[Event]) -> None:
        for _ in range(self.chance.randrange(3)):
            await asyncio.sleep(0)
        if self.chance.random() < 0.1:
            raise Retry("not now")

    @hookimpl
    def cdpd_filter(self, event: Event) -> Discard | None:
        n = int(event.message_id)
        if n % 7 == 3:
            raise RuntimeError("it does not like this one")
        return Discard("picky", "it does not like this one") if n % 5 == 2 else None


def fate(n: int) -> str:
    return "hook_error" if n % 7 == 3 else "picky" if n % 5 == 2 else "events"


ACTIONS = st.one_of(
    st.tuples(st.just("append"), st.integers(1, 40)),
    st.tuples(st.just("run"), st.integers(0, 60)),
    st.tuples(st.just("cancel"), st.integers(0, 60)),
    st.tuples(
        st.just("fault"),
        st.sampled_from(KINDS),
        st.sampled_from(("events", "discarded", "received")),
        st.integers(0, 3),
        st.integers(1, 3),
    ),
    st.tuples(st.just("kill"), st.integers(0, 12)),
    st.tuples(st.just("restart")),
    st.tuples(st.just("lose power")),
)


class World:
    """A machine with a pipeline on it."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.disk = Disk(seed)
        self.clock = FakeClock()
        self.folder = folder
        self.chance = Random(seed)
        self.next = 0
        self.acknowledged: dict[int, int] = {}
        """Offset in `received` → number of the event."""
        Picky.chance.seed(seed)

    async def live(self, actions: list[tuple[Any, ...]]) -> None:
        """Go through the actions; each restart opens everything again."""
        while True:
            rig = Rig(self.folder, clock=self.clock, files=self.disk)
            async with rig.opened():
                chains = rig.chains(configuration(pipeline={"hooks": ["dedup", "picky"]}), {"picky": Picky})
                await chains.startup()
                end = await self._act(rig, rig.pipeline(chains), actions)
                try:
                    await chains.shutdown()
                finally:
                    if end is None:
                        self._check(rig)
            if end is None:
                return
            if end == "lose power":
                self.disk.reboot()
            else:
                self.disk.next_process()

    async def _act(self, rig: Rig, pipeline: Pipeline, actions: list[tuple[Any, ...]]) -> str | None:
        """Until an action ends this process (which one), or there are none left and all is handled (None)."""
        async with anyio.create_task_group() as tasks:
            while actions:
                match actions.pop(0):
                    case "append", count:
                        await self._append(rig, count)
                    case "run" | "cancel", turns:
                        async with anyio.create_task_group() as running:
                            running.start_soon(pipeline.run)
                            await self._turns(turns)
                            running.cancel_scope.cancel()
                    case "fault", kind, name, skip, times:
                        self.disk.faults.append(Fault(kind, skip, times, name))
                    case "kill", operations:
                        self.disk.operations_left = operations
                        async with anyio.create_task_group() as running:
                            running.start_soon(pipeline.run)
                            await self._turns(80)
                            running.cancel_scope.cancel()
                        return "kill"
                    case (end,):
                        return str(end)
            self.disk.faults.clear()
            tasks.start_soon(pipeline.run)
            for _ in range(500):
                await self._turns(20)
                cursor = rig.events.cursor
                if cursor is not None and cursor.received.offset >= rig.received.end.offset:
                    break
            tasks.cancel_scope.cancel()
        return None

    async def _append(self, rig: Rig, count: int) -> None:
        numbers = range(self.next, self.next + count)
        self.next += count
        texts = [
            received_line({"type": "track", "messageId": str(n)}, received_at=self.clock.now_ms())
            for n in numbers
        ]
        waiting = asyncio.ensure_future(rig.received.append(texts, config_id=CONFIG_ID))
        while not waiting.done():
            await self._turns(1)
        try:
            appended = waiting.result()
        except AppendFailed:
            return
        self.acknowledged.update(enumerate(numbers, appended.first))

    async def _turns(self, turns: int) -> None:
        for _ in range(turns):
            await asyncio.sleep(0)

    async def let_time_pass(self) -> None:
        """Whenever somebody waits for it; also while a commit that waits for the disk is being finished."""
        while True:
            for _ in range(self.chance.randrange(1, 20)):
                await asyncio.sleep(0)
            if self.clock.sleepers:
                await self.clock.advance(1.0)

    def _check(self, rig: Rig) -> None:
        events = [int(event["messageId"]) for event in rig.stored()]
        away = [
            (int(line["line"]["messageId"]), line["code"], line["received"]) for line in rig.turned_away()
        ]
        assert events == sorted(set(events)), "in order, none twice"
        numbers = [n for n, _, _ in away]
        assert numbers == sorted(set(numbers))
        # A line that was not acknowledged may have come in all the same; but nothing else may.
        handled = dict.fromkeys(events, "events") | {n: code for n, code, _ in away}
        assert len(handled) == len(events) + len(away), "in one of the two streams"
        assert set(self.acknowledged.values()) <= set(handled)
        assert handled == {n: fate(n) for n in handled}
        for n, _, offset in away:
            assert self.acknowledged.get(offset, n) == n
        assert rig.events.cursor is not None or not rig.received.end.offset
        assert len(handled) == rig.received.end.offset


@settings(
    max_examples=int(os.environ.get("CDPD_PIPELINE_EXAMPLES", "60")),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
@given(actions=st.lists(ACTIONS, max_size=25), seed=st.integers(0, 2**32))
def test_exactly_once(actions: list[tuple[Any, ...]], seed: int) -> None:
    with (
        tempfile.TemporaryDirectory() as folder,
        mock.patch("anyio.to_thread.run_sync", inline),
        mock.patch.object(OneThread, "run", inline_on_thread),
    ):
        asyncio.run(run(World(Path(folder), seed), list(actions)))


async def run(world: World, actions: list[tuple[Any, ...]]) -> None:
    time = asyncio.ensure_future(world.let_time_pass())
    try:
        async with asyncio.timeout(20):
            await world.live(actions)
    finally:
        time.cancel()
