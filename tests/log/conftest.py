"""Streams for the log's tests."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest

from cdpd.log.stream import Stream, StreamOptions, open_stream
from tests.clock import FakeClock
from tests.log.faulty import FaultyFiles

Opened = Callable[..., AbstractAsyncContextManager[Stream]]


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def files() -> FaultyFiles:
    return FaultyFiles()


@pytest.fixture
def reports() -> list[str]:
    """What streams told the daemon's log."""
    return []


@pytest.fixture
def opened(tmp_path: Path, clock: FakeClock, files: FaultyFiles, reports: list[str]) -> Opened:
    """`opened(name="events", segment_bytes=…, floor=…, target=…)`: a stream under tmp_path."""

    def open_(name: str = "received", **options: Any) -> AbstractAsyncContextManager[Stream]:
        places = {key: options.pop(key) for key in ("floor", "target") if key in options}
        return open_stream(
            tmp_path / name, clock=clock, options=StreamOptions(**options), files=files,
            report=reports.append, **places,
        )  # fmt: skip

    return open_


def lines(count: int, first: int = 0) -> list[bytes]:
    """Lines that differ."""
    return [b'{"n":%d}' % n for n in range(first, first + count)]


def all_lines(reader: Any) -> list[bytes]:
    """Everything that a reader has now, holes skipped."""
    found: list[bytes] = []
    while (piece := reader.read()) is not None:
        found += [line for _, _, _, line in piece.records()]
    return found
