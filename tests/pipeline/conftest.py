"""Open streams for the tests of the pipeline."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.clock import FakeClock
from tests.pipeline.rig import Rig


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    """Open streams. (Entered and left by one task of its own, as their task groups want it.)"""
    ready: asyncio.Event = asyncio.Event()
    done: asyncio.Event = asyncio.Event()
    rig = Rig(tmp_path, clock=FakeClock())

    async def hold() -> None:
        async with rig.opened():
            ready.set()
            await done.wait()

    holder = asyncio.create_task(hold())
    await ready.wait()
    yield rig
    done.set()
    await holder
