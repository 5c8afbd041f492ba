"""Work that is finished although its caller is cancelled, and given up where it never ends."""

from __future__ import annotations

import asyncio

import anyio
import pytest
from anyio.lowlevel import checkpoint

from cdpd.pipeline.finishing import GRACE, Finishing
from tests.clock import FakeClock


class Work:
    """Waits until it is let go on."""

    def __init__(self, failure: BaseException | None = None) -> None:
        self.begun, self.may_end = anyio.Event(), anyio.Event()
        self.ended = False
        self.failure = failure

    async def __call__(self) -> None:
        self.begun.set()
        await self.may_end.wait()
        if self.failure is not None:
            raise self.failure
        self.ended = True


async def test_what_it_raises_comes_out_as_it_is() -> None:
    work = Work(OSError("no"))
    work.may_end.set()
    with pytest.raises(OSError, match="no"):
        await Finishing(FakeClock()).run(work)


@pytest.mark.parametrize("failure", [asyncio.CancelledError(), SystemExit(3)])
async def test_work_that_cancels_itself_or_exits_holds_nobody_up(failure: BaseException) -> None:
    clock, work = FakeClock(), Work(failure)
    work.may_end.set()
    raised: list[BaseException] = []

    async def call() -> None:
        try:
            await Finishing(clock).run(work)
        except (SystemExit, asyncio.CancelledError) as error:
            raised.append(error)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(call)
        for _ in range(50):
            await checkpoint()
        came_out = list(raised)
        tasks.cancel_scope.cancel()  # of no effect, but where the call hangs
        with anyio.CancelScope(shield=True):
            await clock.advance(0)
            await clock.advance(GRACE)
    assert came_out == [failure]


@pytest.mark.parametrize("failure", [None, OSError("no")])
async def test_a_cancelled_caller_waits_for_the_end(failure: OSError | None) -> None:
    clock, work = FakeClock(), Work(failure)
    finishing = Finishing(clock)
    cancelled = anyio.Event()

    async def call() -> None:
        try:
            await finishing.run(work)
        finally:
            cancelled.set()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(call)
        await work.begun.wait()
        tasks.cancel_scope.cancel()
        with anyio.CancelScope(shield=True):
            await clock.advance(GRACE - 1)
            assert not cancelled.is_set()
            work.may_end.set()
            await cancelled.wait()
    assert work.ended == (failure is None)
    assert not finishing.given_up


async def test_work_that_does_not_end_in_time_is_given_up() -> None:
    clock, work = FakeClock(), Work()
    finishing = Finishing(clock)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(finishing.run, work)
        await work.begun.wait()
        tasks.cancel_scope.cancel()
        with anyio.CancelScope(shield=True):
            while not clock.sleepers:
                await checkpoint()
            await clock.advance(GRACE)
    assert finishing.given_up
    assert not work.ended
