"""Requests recorded from real SDKs, sent again byte for byte.

One of each SDK lies in tests/ingest/wire; the whole collection is used where ../shared lies beside the checkout.
"""

from __future__ import annotations

import base64
import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from tests.ingest.running import KEY, Running, running

HERE = Path(__file__).parent / "wire"
COLLECTION = Path(__file__).parents[3] / "shared" / "fixtures" / "wire"
LATER = ("/sourceConfig", "/beacon/", "/token")
"""Endpoints that are not served yet."""


def recordings(folder: Path) -> list[Path]:
    found = sorted(folder.glob("*.json")) if folder.is_dir() else []
    return [path for path in found if not recorded(path)["path"].startswith(LATER)]


def recorded(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def body_of(request: dict[str, Any]) -> bytes:
    if "body_base64" in request:
        return base64.b64decode(request["body_base64"])
    return str(request["body_text"]).encode()


async def replay(server: Running, request: dict[str, Any]) -> None:
    """Send one recording and hold the answer, and what it left in the log, against what SDKs need."""
    body = body_of(request)
    skip = ("host", "content-length", "connection", "transfer-encoding")
    headers = {name: text for name, text in request["headers"].items() if name.lower() not in skip}
    url = server.bound.url + request["path"]
    method = request["method"]
    async with server.http.request(method, url, data=body, headers=headers, allow_redirects=False) as answer:
        assert answer.status == 200
        origin = headers.get("Origin")
        assert answer.headers.get("Access-Control-Allow-Origin") == origin
        if method == "OPTIONS":
            allowed = answer.headers["Access-Control-Allow-Headers"]
            assert allowed == headers.get("Access-Control-Request-Headers", allowed)
            return
        document = await answer.json()
    if method == "GET":
        assert document["integrations"]["Segment.io"]["apiKey"] == KEY
        return
    assert document == {"success": True}
    if request["path"] == "/v1/m":
        assert server.lines == []
        return
    held_against(server, request, gzip.decompress(body) if body[:2] == b"\x1f\x8b" else body)


def held_against(server: Running, request: dict[str, Any], body: bytes) -> None:
    """Each event arrived once, as sent but for the write key and what the batch says for all."""
    sent = json.loads(body)
    events = sent.get("batch", [sent])
    assert len(server.lines) == len(events)
    for line, event in zip(server.lines, events, strict=True):
        assert line["source"] == "website"
        assert line["via"]["path"] == request["path"].rstrip("/")
        assert line["messageId"] == event["messageId"]
        if "batch" in sent:
            assert line.get("sentAt") == sent.get("sentAt")
        got = line["event"]
        event.pop("writeKey", None)
        assert list(got)[: len(event)] == list(event)
        for key in set(got) | set(event):
            if key == "context" and "context" in sent and "batch" in sent:
                assert got[key] == {**sent["context"], **event.get(key, {})}
            elif key == "integrations" and "integrations" in sent and "batch" in sent:
                assert got[key] == {**sent["integrations"], **event.get(key, {})}
            else:
                assert got[key] == event[key]


@pytest.mark.parametrize("path", recordings(HERE), ids=lambda path: path.stem)
async def test_a_recorded_request_of_each_sdk(path: Path) -> None:
    async with running() as server:
        await replay(server, recorded(path))


async def test_every_recorded_request_of_the_collection() -> None:
    paths = recordings(COLLECTION)
    if not paths:
        pytest.skip("../shared/fixtures/wire does not lie beside this checkout")
    for path in paths:
        async with running() as server:
            try:
                await replay(server, recorded(path))
            except AssertionError as error:
                raise AssertionError(f"{path.name}: {error}") from error
