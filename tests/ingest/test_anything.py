"""Whatever JSON a batch holds, its good events arrive; whatever bytes come, they are answered without a 5xx."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.ingest.running import KEY, running

KEYS = st.sampled_from(
    [
        *(
            "type",
            "userId",
            "messageId",
            "writeKey",
            "write_key",
            "context",
            "integrations",
            "timestamp",
            "sentAt",
        ),
        *("batch", "properties", "all", "All", ""),
    ]
)
ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.just("\ud800"),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(KEYS | st.text(max_size=8), inner, max_size=5)
    ),
    max_leaves=20,
)
QUIET = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)


@given(
    st.lists(ANY, max_size=6), st.dictionaries(st.sampled_from(["context", "integrations", "sentAt"]), ANY)
)
@QUIET
async def test_good_events_arrive_between_any_others(others: list[Any], shared: dict[str, Any]) -> None:
    batch: list[Any] = []
    for i, other in enumerate(others):
        batch += [other, {"type": "track", "event": "Good", "userId": "u", "messageId": f"good {i}", "n": 1}]
    async with running() as server:
        status, answer = await server.batch(batch, **shared)
        assert (status, answer) == (200, {"success": True})
        assert len(server.lines) == len(batch)
        good = [
            line for line in server.lines if line.get("event", {}) and line["messageId"].startswith("good ")
        ]
        assert [line["messageId"] for line in good if line["event"].get("event") == "Good"] == [
            f"good {i}" for i in range(len(others))
        ]


@given(ANY, st.sampled_from(["/v1/batch", "/v1/track", "/v1/i", "/v1/import/", "/beacon/v1/batch"]))
@QUIET
async def test_any_json_is_answered(body: Any, path: str) -> None:
    async with running() as server:
        status, answer = await server.post(f"{path}?writeKey={KEY}", json.dumps(body).encode())
        assert status in (200, 400)
        assert answer["success"] is (status == 200)


@given(st.binary(max_size=300), st.sampled_from(["", "gzip", "deflate", "br"]))
@QUIET
async def test_any_bytes_are_answered(body: bytes, encoding: str) -> None:
    async with running() as server:
        status, answer = await server.post("/v1/batch", body, headers={"Content-Encoding": encoding})
        assert status in (200, 400, 415)
        assert answer["success"] is (status == 200)
