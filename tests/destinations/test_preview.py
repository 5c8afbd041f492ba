"""What built-in destinations say that they would send."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from cdpd.destinations.console import Console
from cdpd.destinations.contract import Destination
from cdpd.destinations.file import File
from cdpd.destinations.null import Null
from cdpd.destinations.webhook import Webhook
from cdpd.event import Event
from cdpd.testing import running_destination
from cdpd.testing.events import event_line

LINE = event_line({"type": "track", "event": "Signed Up", "userId": "u", "messageId": "m1"}, 1)


async def preview(kind: type[Destination], **options: Any) -> Any:
    async with running_destination(kind, options) as running:
        return json.loads(msgspec.json.encode(running.destination.preview(Event(LINE)), enc_hook=str))


async def test_by_default_it_is_the_event() -> None:
    assert await preview(Null) == json.loads(LINE)


async def test_a_file_is_sent_a_line_and_is_not_made(tmp_path: Path) -> None:
    path = tmp_path / "out.ndjson"
    assert await preview(File, path=str(path)) == {"path": str(path), "line": json.loads(LINE)}
    assert not path.exists()


async def test_the_console_shows_a_line() -> None:
    assert "Signed Up" in await preview(Console)


async def test_a_webhooks_request_is_shown_without_its_secrets() -> None:
    shown = await preview(
        Webhook,
        url="https://user:pass@crm.example/in?token=abc",
        headers={"Authorization": "Bearer secret"},
        shared_secret="key",
        signature="both",
    )
    assert shown == {
        "method": "POST",
        "url": "https://crm.example/in?token=•••",
        "headers": {
            "Content-Type": "application/json",
            "Authorization": "•••",
            "X-Cdpd-Message-Id": "m1",
            "X-Timestamp": "•••",
            "X-Signature-256": "•••",
            "X-Signature": "•••",
        },
        "body": json.loads(LINE),
    }


@pytest.mark.parametrize(
    ("signature", "names"), [("sha1", {"X-Signature"}), ("sha256", {"X-Timestamp", "X-Signature-256"})]
)
async def test_a_webhook_that_sends_arrays_is_shown_with_one(signature: str, names: set[str]) -> None:
    shown = await preview(
        Webhook, url="https://a.example", mode="batch", shared_secret="k", signature=signature
    )
    assert shown["body"] == [json.loads(LINE)]
    assert set(shown["headers"]) == {"Content-Type", *names}
