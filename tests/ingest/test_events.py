"""Single events and batches become lines of `received`."""

from __future__ import annotations

from tests.ingest.running import NOW, running

OK = (200, {"success": True})


async def test_a_single_event_becomes_a_line() -> None:
    async with running() as server:
        assert await server.post("/v1/track", {"event": "A", "userId": "u", "messageId": "m1"}) == OK
        line = server.lines[0]
        assert line["receivedAt"] == NOW
        assert line["source"] == "website"
        assert line["messageId"] == "m1"
        assert line["via"]["path"] == "/v1/track"
        assert line["via"]["ip"] == "127.0.0.1"
        assert line["event"] == {"event": "A", "userId": "u", "messageId": "m1"}
        assert list(line) == ["receivedAt", "source", "messageId", "via", "event"]
        assert server.log.config_ids == [7]
