"""Streams for tests of what reads them: real ones, written by the log's own writer."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from cdpd.config.data_folder import stream_folder
from cdpd.log.stream import StreamOptions, open_stream

from .clock import FakeClock

AT_MS = 1_769_860_800_000
"""2026-01-31T12:00:00Z"""


def event(number: int, **changes: Any) -> dict[str, Any]:
    """A line of `events`; a change to None removes the key."""
    line = {
        "messageId": f"m{number}",
        "type": "track",
        "event": "Signed Up",
        "userId": f"u{number}",
        "properties": {"plan": "pro", "seats": number},
        "context": {"ip": "203.0.113.9"},
        "timestamp": "2026-01-31T12:00:00.123Z",
        "receivedAt": "2026-01-31T12:00:01.000Z",
        "projectId": "website",
        **changes,
    }
    return {key: value for key, value in line.items() if value is not None}


def received(number: int, **changes: Any) -> dict[str, Any]:
    """A line of `received`, around the event that a client sent."""
    return {
        "receivedAt": "2026-01-31T12:00:01.000Z",
        "source": "website",
        "messageId": f"m{number}",
        "via": {"path": "/v1/batch", "ip": "203.0.113.9", "userAgent": "curl/8"},
        "event": {
            "type": "track",
            "event": "Signed Up",
            "userId": f"u{number}",
            "properties": {"plan": "pro"},
        },
        **changes,
    }


def discarded(number: int, **changes: Any) -> dict[str, Any]:
    """A line of `discarded`."""
    return {
        "at": "2026-01-31T12:00:02.000Z",
        "by": "spec",
        "code": "unknown_type",
        "message": 'there is no call "trak"',
        "received": number,
        "line": received(number),
        **changes,
    }


def encoded(lines: Iterable[dict[str, Any] | bytes]) -> list[bytes]:
    return [
        line if isinstance(line, bytes) else json.dumps(line, separators=(",", ":")).encode()
        for line in lines
    ]


def store(
    data_dir: Path,
    name: str,
    lines: Iterable[dict[str, Any] | bytes],
    *,
    a_segment: int = 0,
    at_ms: int = AT_MS,
) -> Path:
    """Append the lines, a second apart; with `a_segment` so many of them in each segment. The stream's folder."""

    async def write() -> None:
        clock = FakeClock(at_ms)
        options = StreamOptions(segment_age=a_segment - 0.5 if a_segment else 1e9)
        async with open_stream(folder, clock=clock, options=options, report=reports.append) as stream:
            for line in encoded(lines):
                await stream.append([line], config_id=1)
                await clock.advance(1)

    folder, reports = stream_folder(data_dir, name), list[str]()
    asyncio.run(write())
    assert not reports
    return folder


def store_all(data_dir: Path) -> Path:
    """A data folder in which every stream exists, with a line or more each."""
    store(data_dir, "received", [received(1), received(2)])
    store(data_dir, "events", [event(1), event(2)])
    store(data_dir, "discarded", [discarded(1)])
    return data_dir
