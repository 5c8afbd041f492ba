"""Upkeep: old segments go, what somebody still needs is held and told of, a failing disk ends nothing."""

from __future__ import annotations

import io
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import anyio
import pytest

from cdpd.config.model import LogConfig, LoggingConfig, StreamConfig
from cdpd.log.retention import Retention
from cdpd.log.stream import Stream, StreamOptions, open_stream
from cdpd.logs import Threshold, make_log
from cdpd.upkeep import EVERY, Kept, retention_of, upkeep
from tests.clock import FakeClock

DAY = 86_400.0


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


def opened(folder: Path, clock: FakeClock) -> AbstractAsyncContextManager[Stream]:
    """A stream whose segments hold one append each."""
    options = StreamOptions(segment_bytes=1)
    return open_stream(folder / "received", clock=clock, options=options, report=print)


async def let_upkeep_run(stream: Stream, clock: FakeClock, needed: dict[str, int], rounds: int = 1) -> str:
    said = io.StringIO()
    log = make_log(LoggingConfig(format="json"), said, Threshold("info"))
    config = LogConfig(received=StreamConfig(keep="7d"))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(upkeep, [Kept(stream, lambda: needed)], lambda: config, clock, log)
        for _ in range(rounds):
            while not clock.sleepers:  # a round works in a thread; it sleeps when it is done
                await anyio.lowlevel.checkpoint()
            await clock.advance(EVERY)
        while not clock.sleepers:
            await anyio.lowlevel.checkpoint()
        tasks.cancel_scope.cancel()
    return said.getvalue()


async def test_segments_older_than_their_time_go(tmp_path: Path, clock: FakeClock) -> None:
    async with opened(tmp_path, clock) as stream:
        await stream.append([b"{}"], config_id=1)
        await stream.append([b"{}"], config_id=1)
        await clock.advance(8 * DAY)
        await stream.append([b"{}"], config_id=1)
        said = await let_upkeep_run(stream, clock, {})
        assert stream.begin == 2
        assert "old segments removed" in said


async def test_what_the_pipeline_still_needs_is_held_and_the_holder_is_named(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with opened(tmp_path, clock) as stream:
        await stream.append([b"{}"], config_id=1)
        await clock.advance(8 * DAY)
        await stream.append([b"{}"], config_id=1)
        said = await let_upkeep_run(stream, clock, {"the pipeline": 0})
        assert stream.begin == 0
        assert '"needed_by": "the pipeline"' in said


async def test_a_disk_that_refuses_is_told_of_and_the_next_round_goes_on(
    tmp_path: Path, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(tmp_path, clock) as stream:
        calls: list[Retention] = []

        async def refuse(rule: Retention, _: object) -> object:
            calls.append(rule)
            raise OSError(5, "Input/output error")

        monkeypatch.setattr(stream, "retain", refuse)
        said = await let_upkeep_run(stream, clock, {}, rounds=2)
        assert len(calls) == 3
        assert "could not be removed" in said


@pytest.mark.parametrize(
    ("stream_name", "keep"), [("received", 7 * DAY), ("discarded", 30 * DAY), ("events", None)]
)
def test_each_stream_has_its_own_default_time(stream_name: str, keep: float | None) -> None:
    assert retention_of(LogConfig(), stream_name) == Retention(keep=keep, keep_bytes=None)
