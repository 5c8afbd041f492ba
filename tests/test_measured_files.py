"""Files of a stream that measure what is done with them."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from cdpd import metrics as names
from cdpd.log.stream import StreamOptions, open_stream
from cdpd.measured_files import MeasuredFiles
from cdpd.metrics import Metrics
from tests.clock import FakeClock


def no_report(text: str) -> None:
    raise AssertionError(text)


async def test_each_sync_is_measured_with_what_went_out_with_it(tmp_path: Path) -> None:
    metrics, clock = Metrics(), FakeClock()
    files = MeasuredFiles(metrics, "received", clock.monotonic)
    folder = tmp_path / "received"
    async with open_stream(
        folder, clock=clock, options=StreamOptions(), files=files, report=no_report
    ) as stream:
        for _ in range(3):
            await stream.append([b'{"a":1}'], config_id=1)
        syncs, groups = files.syncs, files.groups
        assert sum(syncs.counts) == sum(groups.counts) == 4, "the segment's beginning, and three groups"
        (segment,) = folder.glob("*.zst")
        assert groups.sum == segment.stat().st_size
    assert metrics.get(names.LOG_FAILURES, "received") == 0


def test_what_the_disk_refuses_is_counted_and_goes_on_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    metrics = Metrics()
    file = MeasuredFiles(metrics, "events", FakeClock().monotonic).create(tmp_path / "file")

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "no space left on device")

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(OSError, match="no space"):
        file.write(b"x")
    monkeypatch.undo()
    file.truncate(0)
    file.write(b"abc")
    file.sync()
    file.close()
    assert metrics.get(names.LOG_FAILURES, "events") == 1
    assert metrics.histogram(names.GROUP_BYTES, "events").sum == 3
