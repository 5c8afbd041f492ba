"""Whose request it is."""

from __future__ import annotations

import pytest

from cdpd import metrics as names
from cdpd.ingest.auth import header_key, query_key
from tests.ingest.running import KEY, basic, running

OK = (200, {"success": True})


@pytest.mark.parametrize(
    ("header", "key"),
    [
        ("Basic V1JJVEVLRVk6", "WRITEKEY"),
        ("basic V1JJVEVLRVk6", "WRITEKEY"),
        ("Basic V1JJVEVLRVk", "WRITEKEY"),
        ("Basic V1JJVEVLRVk6c2VjcmV0", "WRITEKEY"),
        ("Basic  V1JJVEVLRVk6 ", "WRITEKEY"),
        ("Basic Og==", None),
        ("Basic", None),
        ("Basic !!!", None),
        ("Basic /////w==", None),
        ("Bearer V1JJVEVLRVk6", None),
        ("", None),
    ],
)
def test_the_user_name_of_a_basic_header_is_the_key(header: str, key: str | None) -> None:
    assert header_key(header) == key


def test_the_query_may_hold_the_key() -> None:
    assert query_key("a=b&writeKey=k%20x") == "k x"
    assert query_key("write_key=k") == "k"
    assert query_key("writeKey=") is None
    assert query_key("") is None
    assert query_key("&".join(["a=1"] * 5000)) is None


async def test_a_missing_key_and_an_unknown_key_are_401() -> None:
    async with running() as server:
        assert (await server.post("/v1/track", {}, key=None))[0] == 401
        assert (await server.post("/v1/track", {"writeKey": "nobody"}, key=None))[0] == 401
        assert (await server.post("/v1/track", {"writeKey": 7}, key=None))[0] == 401
        assert (await server.post("/v1/track", {"writeKey": KEY}, key="nobody"))[0] == 401
        assert server.lines == []


async def test_an_unknown_key_may_be_answered_200_and_is_counted() -> None:
    async with running(unknown_key=200) as server:
        assert await server.post("/v1/track", {}, key=None) == OK
        assert await server.post("/v1/track", {}, key="nobody") == OK
        assert server.lines == []
        assert server.metrics.get(names.NOTED, "missing_write_key") == 1
        assert server.metrics.get(names.NOTED, "unknown_source") == 1


async def test_the_header_wins_over_the_body() -> None:
    async with running() as server:
        assert await server.post("/v1/track", {"writeKey": "offkey"}) == OK
        assert [line["source"] for line in server.lines] == ["website"]
        assert server.metrics.get(names.NOTED, "write_key_conflict") == 1


async def test_a_bearer_token_leaves_the_key_to_the_body() -> None:
    async with running() as server:
        bearer = {"Authorization": "Bearer token"}
        assert (
            await server.post("/v1/batch", {"batch": [{}], "writeKey": KEY}, key=None, headers=bearer) == OK
        )
        assert len(server.lines) == 1


async def test_the_body_comes_before_the_query_and_the_query_before_the_first_event() -> None:
    async with running() as server:
        body = {"batch": [{"writeKey": "nobody"}], "write_key": KEY}
        assert await server.post("/v1/batch?writeKey=other", body, key=None) == OK
        assert (
            await server.post(f"/v1/batch?writeKey={KEY}", {"batch": [{"writeKey": "nobody"}]}, key=None)
            == OK
        )
        assert len(server.lines) == 2


async def test_a_key_without_its_colon_and_a_second_key_are_accepted() -> None:
    async with running() as server:
        assert await server.post("/v1/track", {}, key=None, headers=basic(colon=False)) == OK
        assert await server.post("/v1/track", {}, key="second") == OK
        assert [line["source"] for line in server.lines] == ["website", "website"]


async def test_a_disabled_source_is_answered_200_and_nothing_is_kept() -> None:
    async with running() as server:
        assert await server.post("/v1/track", {}, key="offkey") == OK
        assert await server.post("/v1/batch", {"batch": [{}], "writeKey": "offkey"}, key=None) == OK
        assert server.lines == []
        assert server.metrics.get(names.NOTED, "source_disabled") == 2


async def test_a_reload_changes_keys_and_limits_without_dropping_a_connection() -> None:
    from cdpd.ingest.settings import IngestSettings
    from tests.ingest.running import config

    async with running() as server:
        assert await server.post("/v1/track", {"a": "x" * 100}) == OK
        server.ingest.apply(IngestSettings.of(config(max_event_bytes=50), 8))
        assert (await server.post("/v1/track", {"a": "x" * 100}))[0] == 400
        assert await server.post("/v1/track", {}) == OK
        assert server.log.config_ids == [7, 8]
