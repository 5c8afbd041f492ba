"""`@rudderstack/analytics-js` from npm in headless Chromium: it boots from the daemon, and each event arrives once."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.clients.browser import own_hosts
from tests.clients.proxy import RESET, RESET_AFTER, Fault
from tests.clients.shop import KEY, Shop, shop
from tests.services import node_modules

FIVE = {"identify", "track", "page", "group", "alias"}
"""Its calls: a browser has no screens."""
SINGLE = {"queueOptions": {"minRetryDelay": 100}}
BATCH = {
    "queueOptions": {"minRetryDelay": 100, "batch": {"enabled": True, "maxItems": 3, "flushInterval": 500}}
}
BEACON = {"useBeacon": True, "beaconQueueOptions": {"maxItems": 2, "flushQueueInterval": 500}}
WAITING = {"useBeacon": True, "beaconQueueOptions": {"maxItems": 100, "flushQueueInterval": 3_600_000}}
PATHS = {
    "single": {"/v1/identify", "/v1/track", "/v1/page", "/v1/group", "/v1/alias"},
    "batch": {"/v1/batch"},
    "beacon": {"/beacon/v1/batch"},
}


@asynccontextmanager
async def rudder(folder: Path, options: dict[str, object]) -> AsyncIterator[Shop]:
    """A shop, and a visitor whose page has started."""
    sdk = node_modules() / "@rudderstack/analytics-js/dist/npm/modern/bundled/esm"
    async with shop(folder, "rudder", sdk) as it:
        await it.visit(options=json.dumps(options))
        yield it


@pytest.mark.parametrize(
    ("mode", "options"),
    [("single", SINGLE), ("batch", BATCH), ("beacon", BEACON)],
    ids=["single", "batch", "beacon"],
)
async def test_its_calls_arrive_once_and_unchanged_and_it_talks_to_no_other_host(
    tmp_path: Path, mode: str, options: dict[str, object]
) -> None:
    async with rudder(tmp_path, options) as it:
        await it.chromium.run("six()")
        await it.each_once(5)
        assert {event["type"] for event in it.daemon.lines("events")} == FIVE
        assert {request.path for request in it.proxy.posts()} == PATHS[mode]
        boots = [request for request in it.proxy.sent if request.path.startswith("/sourceConfig")]
        assert [(one.method, one.status) for one in boots] == [("OPTIONS", 200), ("GET", 200)]
        assert await it.chromium.problems() == []
        assert await it.chromium.hosts() == own_hosts(it.site, it.proxy.url)


async def test_beacons_that_wait_when_the_page_is_left_still_go_out(tmp_path: Path) -> None:
    async with rudder(tmp_path, WAITING) as it:
        await it.chromium.run("six()")
        await it.leave()
        await it.each_once(5)
        assert {request.path for request in it.proxy.posts()} == {"/beacon/v1/batch"}


@pytest.mark.parametrize("options", [SINGLE, BATCH], ids=["single", "batch"])
@pytest.mark.parametrize(
    "fault",
    [Fault(status=500), Fault(status=429, headers={"Retry-After": "1"}), RESET, RESET_AFTER],
    ids=["500", "429", "reset", "answer lost"],
)
async def test_each_event_arrives_once_whatever_happens_to_its_request(
    tmp_path: Path, options: dict[str, object], fault: Fault
) -> None:
    async with rudder(tmp_path, options) as it:
        it.proxy.faults.append(fault)
        await it.chromium.run("six()")
        await it.proxy.wait_until(lambda proxy: len(proxy.posts()) > 1 and proxy.answers()[-1] == 200)
        await it.each_once(5)
        if fault.status:  # where a connection is lost, the browser itself may ask again, unknown to the SDK
            again = [request for request in it.proxy.posts() if "rsa-retry-attempt" in request.headers]
            assert again, "its headers say that it tries again, which CORS must allow"


async def test_a_page_with_a_key_that_nobody_has_sends_nothing(tmp_path: Path) -> None:
    sdk = node_modules() / "@rudderstack/analytics-js/dist/npm/modern/bundled/esm"
    async with shop(tmp_path, "rudder", sdk) as it:
        await it.chromium.open(f"{it.site}/rudder.html?host={it.proxy.url}&key={KEY}x&options={{}}")
        await it.chromium.run("six()")
        await it.proxy.wait_until(lambda proxy: any(one.status == 401 for one in proxy.sent))
        assert it.proxy.posts() == []
