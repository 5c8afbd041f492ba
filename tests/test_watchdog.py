"""The watchdog is fed while there is progress, and starves where the disk or the pipeline hangs without a word."""

from __future__ import annotations

import io
import json
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio

from cdpd.config.model import LoggingConfig
from cdpd.log.files import OsFiles, WritableFile
from cdpd.log.stream import StreamOptions, open_stream
from cdpd.logs import Threshold, make_log
from cdpd.notify import Notifier
from cdpd.watchdog import EVERY, STALLED, watch_over, writes_hang
from tests.clock import FakeClock


class Remembering(Notifier):
    """Counts instead of sending."""

    def __init__(self, watchdog: float | None) -> None:
        super().__init__("@nobody", watchdog)
        self.fed = 0
        self.told: list[str] = []

    def alive(self) -> None:
        self.fed += 1

    def status(self, text: str) -> None:
        self.told.append(text)

    def meals(self) -> int:
        """How often it was fed since this was asked last."""
        fed, self.fed = self.fed, 0
        return fed


class FakeStream:
    name = "received"
    writing_since: float | None = None


class Rig:
    def __init__(self, watchdog: float | None) -> None:
        self.clock = FakeClock()
        self.said = io.StringIO()
        self.notifier = Remembering(watchdog)
        self.stream = FakeStream()
        self.pipeline: dict[str, Any] = {"state": "running", "behind": 0, "received": 0}

    def log(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.said.getvalue().splitlines()]


@asynccontextmanager
async def watching(watchdog: float | None = 30) -> AsyncIterator[Rig]:
    rig = Rig(watchdog)
    log = make_log(LoggingConfig(format="json"), rig.said, Threshold("info"))
    async with anyio.create_task_group() as tasks:

        async def run() -> None:
            await watch_over(
                rig.notifier,
                streams=[rig.stream],
                pipeline=lambda: rig.pipeline,
                status=lambda: "well",
                clock=rig.clock,
                log=log,
            )

        tasks.start_soon(run)
        await rig.clock.advance(0)
        rig.notifier.meals()
        yield rig
        tasks.cancel_scope.cancel()


async def test_it_is_fed_three_times_within_its_time() -> None:
    async with watching(30) as rig:
        await rig.clock.advance(60)
        assert rig.notifier.meals() == 6
        assert set(rig.notifier.told) == {"well"}


async def test_without_a_watchdog_the_status_is_still_told() -> None:
    async with watching(None) as rig:
        rig.notifier.told.clear()
        await rig.clock.advance(EVERY * 2)
        assert rig.notifier.told == ["well", "well"]


async def test_a_write_that_takes_long_is_waited_for_one_that_hangs_is_not() -> None:
    async with watching(30) as rig:
        rig.stream.writing_since = rig.clock.monotonic()
        await rig.clock.advance(30)
        assert rig.notifier.meals() == 3
        await rig.clock.advance(300)
        assert rig.notifier.meals() == 0
        assert "a write to received has hung for" in rig.notifier.told[-1]
        (line,) = rig.log()
        assert line["level"] == "error"
        assert "the disk" in line["reason"]
        rig.stream.writing_since = None
        await rig.clock.advance(30)
        assert rig.notifier.meals() == 3
        assert rig.log()[-1]["event"] == "there is progress again"


async def test_a_pipeline_that_stands_still_without_a_word_starves_it() -> None:
    async with watching(30) as rig:
        rig.pipeline = {"state": "running", "behind": 5, "received": 10}
        await rig.clock.advance(STALLED)
        assert rig.notifier.meals() == 12
        await rig.clock.advance(STALLED)
        assert rig.notifier.meals() <= 1
        assert "the pipeline has stood still for" in rig.notifier.told[-1]
        rig.pipeline = {"state": "running", "behind": 5, "received": 11}
        await rig.clock.advance(STALLED)
        assert rig.notifier.meals() == 12


async def test_a_pipeline_that_has_nothing_to_do_or_says_why_it_stops_is_no_reason() -> None:
    async with watching(30) as rig:
        for told in (
            {"state": "running", "behind": 0, "received": 3},
            {"state": "stopped", "behind": 9, "received": 3, "reason": "hook x fails for every event"},
            {"state": "waiting", "behind": 9, "received": 3, "reason": "no space left"},
            {"state": "failed", "behind": 9, "received": 3, "reason": "damage"},
        ):
            rig.pipeline = told
            await rig.clock.advance(STALLED * 3)
            assert rig.notifier.meals() == STALLED * 3 / 10


async def test_nobody_who_listens_means_no_work() -> None:
    log = make_log(LoggingConfig(), io.StringIO(), Threshold("info"))
    with anyio.fail_after(5):
        await watch_over(Notifier(), streams=[], pipeline=dict, status=lambda: "", clock=FakeClock(), log=log)


class SlowDisk(OsFiles):
    """A disk whose syncs wait until they are let go."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.go.set()

    def create(self, path: Path) -> WritableFile:
        file = super().create(path)
        sync = file.sync

        def wait() -> None:
            assert self.go.wait(20)
            sync()

        file.sync = wait  # type: ignore[method-assign]  # the rest is the real thing
        return file


async def test_a_stream_tells_how_long_its_write_has_taken(tmp_path: Path) -> None:
    clock, disk = FakeClock(), SlowDisk()
    async with open_stream(
        tmp_path / "received", clock=clock, options=StreamOptions(), files=disk, report=lambda _: None
    ) as stream:
        check = writes_hang([stream], clock, 30)
        await stream.append([b"{}"], config_id=1)
        assert stream.writing_since is None
        disk.go.clear()
        async with anyio.create_task_group() as tasks:

            async def append() -> None:
                await stream.append([b"{}"], config_id=1)

            tasks.start_soon(append)
            await clock.advance(0)
            await clock.advance(31)
            told = check()
            disk.go.set()
        assert told is not None
        assert told.startswith("a write to received has hung for 31 s")
        assert check() is None
