"""Every request recorded from a real client (tests/ingest/wire), sent again byte for byte, only the host changed."""

from __future__ import annotations

import asyncio
import base64
import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from msgspec import Struct

from tests.clients.same import assert_same
from tests.ingest.running import KEY, Running, running
from tests.running import running as daemon_running

HERE = Path(__file__).parent / "wire"
RECORDINGS = sorted(HERE.glob("*.json"))
CONFIG = f"""
[sources.website]
write_keys = ["{KEY}"]
"""


class Answer(Struct):
    """What came back."""

    status: int
    headers: dict[str, str]
    """Names in lower case."""
    body: bytes


def recorded(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def body_of(request: dict[str, Any]) -> bytes:
    if "body_base64" in request:
        return base64.b64decode(request["body_base64"])
    return str(request["body_text"]).encode()


def sent_by(request: dict[str, Any]) -> list[dict[str, Any]]:
    """The events in a recorded request, with what its batch says for all of them."""
    if request["method"] != "POST" or request["path"] in ("/token", "/v1/m"):
        return []
    body = body_of(request)
    sent = json.loads(gzip.decompress(body) if body[:2] == b"\x1f\x8b" else body)
    events: list[dict[str, Any]] = sent.get("batch", [sent])
    for event in events:
        for key in ("context", "integrations"):
            if key in sent and "batch" in sent:
                event[key] = {**sent[key], **event.get(key, {})}
    return events


async def send_again(url: str, request: dict[str, Any]) -> Answer:
    """The recorded bytes on a connection of their own: the request line, the headers in their order, the body."""
    host, port = url.removeprefix("http://").split(":")
    lines = [f"{request['method']} {request['path']} HTTP/1.1"]
    for name, text in request["headers"].items():
        lines.append(f"{name}: {f'{host}:{port}' if name.lower() == 'host' else text}")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        writer.write("\r\n".join((*lines, "", "")).encode() + body_of(request))
        head = (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 20)).decode()
        first, *fields = head.strip().split("\r\n")
        headers = {name.lower(): text for name, _, text in (field.partition(": ") for field in fields)}
        return Answer(
            int(first.split()[1]), headers, await reader.readexactly(int(headers["content-length"]))
        )
    finally:
        writer.close()


def check_answer(request: dict[str, Any], answer: Answer) -> None:
    """The answer is what SDKs need (wire.md §0 rules 1 and 4, §4, §5)."""
    origin = request["headers"].get("Origin")
    assert answer.headers.get("access-control-allow-origin") == origin
    if request["path"] == "/token":  # no app is configured here; tests/oauth has tokens
        assert answer.status == 404
        assert json.loads(answer.body)["code"] == "not_found"
        return
    assert answer.status == 200
    if request["method"] == "OPTIONS":
        asked = request["headers"].get("Access-Control-Request-Headers")
        allowed = answer.headers["access-control-allow-headers"]
        assert asked is None or set(asked.split(",")) <= set(allowed.replace(" ", "").split(","))
        assert (
            request["headers"]["Access-Control-Request-Method"]
            in answer.headers["access-control-allow-methods"]
        )
        return
    assert answer.headers["content-type"] == "application/json"
    if answer.headers.get("content-encoding") == "gzip":
        answer.body = gzip.decompress(answer.body)
    document = json.loads(answer.body)
    if request["path"].startswith("/sourceConfig"):
        source = document["source"]
        assert (source["writeKey"], source["enabled"], source["destinations"]) == (KEY, True, [])
        assert isinstance(source["id"], str)
        assert isinstance(source["config"], dict)
    elif request["method"] == "GET":
        assert list(document["integrations"]) == ["Segment.io"]
        assert document["integrations"]["Segment.io"]["apiKey"] == KEY
    else:
        assert document == {"success": True}


def check_lines(server: Running, request: dict[str, Any]) -> None:
    """In `received` each event stands once, as sent but for the write key and what the batch says for all."""
    events = sent_by(request)
    assert len(server.lines) == len(events)
    for line, event in zip(server.lines, events, strict=True):
        assert line["source"] == "website"
        assert line["via"]["path"] == request["path"].partition("?")[0].rstrip("/")
        assert line["messageId"] == event["messageId"]
        event.pop("writeKey", None)
        assert line["event"] == event
        assert [key for key in line["event"] if key in event][: len(event)] == list(line["event"])


@pytest.mark.parametrize("path", RECORDINGS, ids=lambda path: path.stem)
async def test_a_recorded_request_is_answered_and_kept_as_it_was_sent(path: Path) -> None:
    request = recorded(path)
    async with running() as server:
        check_answer(request, await send_again(server.bound.url, request))
        check_lines(server, request)


async def test_all_of_them_at_one_daemon_leave_each_event_once_and_unchanged(tmp_path: Path) -> None:
    requests = [recorded(path) for path in RECORDINGS]
    sent: dict[str, dict[str, Any]] = {}
    for request in requests:
        for event in sent_by(request):
            sent.setdefault(event["messageId"], event)  # a retry is rebuilt by some clients; the first stands
    assert len(RECORDINGS) > 80
    assert len(sent) > 80
    async with daemon_running(tmp_path, CONFIG) as daemon:
        for request in requests:
            check_answer(request, await send_again(daemon.url, request))
        stored = await daemon.wait_for("events", len(sent))
        ended = daemon.lines("discarded")
    assert sorted(event["messageId"] for event in stored) == sorted(sent)
    assert {line["code"] for line in ended} == {"duplicate"}  # recorded retries
    for event in stored:
        assert_same(sent[event["messageId"]], event, "website")
