"""A destination as delivery makes it, without delivery around it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest
import structlog

from cdpd.config.decode import decode
from cdpd.destinations.contract import Batch, Destination, DestinationEnv
from cdpd.event import Event
from tests.clock import FakeClock
from tests.stored import event

Make = Callable[..., Destination]


@pytest.fixture
async def make(tmp_path: Path) -> AsyncIterator[Make]:
    """make(Kind, option=…) → a destination."""
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=2)) as http:

        def one(kind: type[Destination], **options: Any) -> Destination:
            clock = FakeClock()
            log = structlog.wrap_logger(structlog.ReturnLogger())
            config = msgspec.convert(options, kind.Config, dec_hook=decode)
            return kind(config, DestinationEnv("d", http, tmp_path / "state", clock, log))

        yield one


def batch(*changes: dict[str, Any], attempt: int = 1) -> Batch:
    """Events m0, m1 … with these changes."""
    return Batch(
        [Event(msgspec.json.encode(event(i, **change))) for i, change in enumerate(changes)], attempt
    )
