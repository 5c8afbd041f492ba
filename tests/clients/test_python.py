"""`segment-analytics-python`, unmodified, against a running daemon."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import anyio.to_thread
import pytest
from segment.analytics.client import Client

from tests.clients.proxy import proxy
from tests.clients.same import assert_each_once
from tests.running import running

CONFIG = """
[sources.website]
write_keys = ["wk_clients_python"]
"""


def six_calls(host: str, gzip: bool) -> None:
    errors: list[object] = []
    client = Client(
        "wk_clients_python", host=host, gzip=gzip, on_error=lambda *e: errors.append(e), max_retries=1
    )
    client.identify(7, {"email": "ada@example.com", "born": datetime(1990, 1, 2, tzinfo=UTC)})
    client.track(
        "u1", "Order Completed", {"revenue": 12.5, "big": 12345678901234567890, "none": None, "ü": "ß"}
    )
    client.page("u1", "Docs", "Python", {"url": "https://example.com/docs"})
    client.screen("u1", "Settings", "Main", {"dark": True})
    client.group("u1", 7, {"name": "ACME"})
    client.alias("anonymous-1", "u1")
    client.flush()
    client.join()
    assert not errors


@pytest.mark.parametrize("gzip", [False, True], ids=["plain", "gzip"])
async def test_the_six_calls_arrive_once_and_unchanged(tmp_path: Path, gzip: bool) -> None:
    async with running(tmp_path, CONFIG) as daemon, proxy(daemon.url) as between:
        await anyio.to_thread.run_sync(six_calls, between.url, gzip)
        stored = await daemon.wait_for("events", 6)
        assert_each_once(between, stored)
        assert any(request.headers.get("content-encoding") == "gzip" for request in between.sent) == gzip
        assert not daemon.lines("discarded")
