"""A part of the daemon that fails is told of, and run again, ever less often."""

from __future__ import annotations

import asyncio
import errno
import io
import json
import os
from itertools import pairwise

import anyio
import pytest
import structlog

from cdpd.config.model import LoggingConfig
from cdpd.log.errors import LogError
from cdpd.logs import Threshold, make_log
from cdpd.supervise import supervise
from tests.clock import FakeClock


def log_to(file: io.StringIO) -> structlog.typing.FilteringBoundLogger:
    return make_log(LoggingConfig(format="json"), file, Threshold("info"))


async def test_a_part_that_raises_is_run_again_after_growing_waits_and_told_with_its_traceback() -> None:
    clock, said = FakeClock(), io.StringIO()
    begun: list[float] = []

    async def part() -> None:
        begun.append(clock.monotonic())
        if len(begun) == 4:
            await anyio.sleep_forever()
        raise RuntimeError("broken")

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(supervise, "pipeline", part, clock, log_to(said))
        await clock.advance(0)
        for _ in range(4):
            await clock.advance(5)
        tasks.cancel_scope.cancel()
    assert begun == [0, 1, 3, 7]
    lines = said.getvalue().splitlines()
    assert len(lines) == 3
    assert all(
        "RuntimeError" in line and "in part" in line and "the pipeline failed" in line for line in lines
    )


async def test_the_wait_never_grows_beyond_a_minute_and_is_short_again_after_a_good_run() -> None:
    clock, said = FakeClock(), io.StringIO()
    begun: list[float] = []

    async def part() -> None:
        begun.append(clock.monotonic())
        if len(begun) == 12:
            await clock.sleep(100)
        raise RuntimeError("broken")

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(supervise, "pipeline", part, clock, log_to(said))
        for _ in range(700):
            await clock.advance(1)
        tasks.cancel_scope.cancel()
    waits = [b - a for a, b in pairwise(begun)]
    assert max(waits[:11]) == 60
    assert waits[11] == 101


async def test_cancelling_ends_the_part_and_its_supervision() -> None:
    clock, said = FakeClock(), io.StringIO()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(supervise, "pipeline", anyio.sleep_forever, clock, log_to(said))
        await anyio.lowlevel.checkpoint()
        tasks.cancel_scope.cancel()
    assert said.getvalue() == ""


@pytest.mark.parametrize(
    ("failure", "told"),
    [
        (asyncio.CancelledError(), "CancelledError"),
        (SystemExit(3), "SystemExit"),
        (None, "it ended by itself"),
    ],
)
async def test_a_part_that_ends_by_itself_in_whatever_way_is_told_and_run_again(
    failure: BaseException | None, told: str
) -> None:
    clock, said = FakeClock(), io.StringIO()
    begun: list[float] = []

    async def part() -> None:
        begun.append(clock.monotonic())
        if len(begun) > 1:
            await anyio.sleep_forever()
        if failure is not None:
            raise failure

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(supervise, "pipeline", part, clock, log_to(said))
        await clock.advance(0)
        await clock.advance(1)
        tasks.cancel_scope.cancel()
    assert begun == [0, 1]
    [line] = said.getvalue().splitlines()
    assert "the pipeline failed" in line
    assert told in line


@pytest.mark.parametrize("code", [errno.EMFILE, errno.EIO, errno.ENOSPC])
async def test_a_failure_of_the_machine_is_told_without_a_traceback(code: int) -> None:
    clock, said = FakeClock(), io.StringIO()

    async def part() -> None:
        raise ExceptionGroup("tasks", [OSError(code, os.strerror(code), "/data/log")])

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(supervise, "pipeline", part, clock, log_to(said))
        await clock.advance(0)
        tasks.cancel_scope.cancel()
    [line] = map(json.loads, said.getvalue().splitlines())
    assert os.strerror(code) in line["error"]
    assert "/data/log" in line["error"]
    assert "Traceback" not in said.getvalue()


async def test_a_foreseen_failure_is_one_line_told_ever_less_often_and_again_where_it_changes() -> None:
    clock, said = FakeClock(), io.StringIO()
    reason = "damaged log"

    async def part() -> None:
        raise LogError(reason)

    async def told_within(seconds: int) -> list[str]:
        said.seek(0)
        said.truncate()
        for _ in range(seconds):
            await clock.advance(1)
        assert "Traceback" not in said.getvalue()
        return [json.loads(line)["error"] for line in said.getvalue().splitlines()]

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(supervise, "pipeline", part, clock, log_to(said))
        await clock.advance(0)
        assert said.getvalue().count("damaged log") == 1
        assert await told_within(59) == []
        assert await told_within(600) == ["damaged log"] * 3, "after 1, 2 and 4 minutes more"
        reason = "worse"
        assert await told_within(61) == ["worse"]
        tasks.cancel_scope.cancel()
