"""`@segment/analytics-next` from npm in headless Chromium, with nothing but the daemon's address; and what goes wrong
for a page: it is left, the network is gone, the daemon is busy or broken. Each event arrives once."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlencode

import anyio
import pytest

from tests.clients.browser import own_hosts
from tests.clients.proxy import RESET, RESET_AFTER, Delay, Fault
from tests.clients.same import assert_each_once
from tests.clients.shop import Shop, shop
from tests.running import PATIENCE
from tests.services import node_modules

STANDARD = {"/v1/i", "/v1/t", "/v1/p", "/v1/s", "/v1/g", "/v1/a"}
BETWEEN_THE_TWO = """new Promise((done) => {
  const look = () => {
    const [first, second] = performance.getEntriesByType('resource').filter((one) => one.name.endsWith('/v1/t'))
    if (second) done(second.startTime - first.responseEnd)
  }
  new PerformanceObserver(look).observe({ type: 'resource', buffered: true })
})"""
"""Milliseconds from the first answer to the second request."""


@asynccontextmanager
async def analytics_next(folder: Path) -> AsyncIterator[Shop]:
    async with shop(folder, "next", node_modules() / "@segment/analytics-next/dist/umd") as it:
        yield it


@pytest.mark.parametrize("strategy", ["standard", "batching"])
async def test_the_six_calls_arrive_once_and_the_browser_talks_to_no_other_host(
    tmp_path: Path, strategy: str
) -> None:
    async with analytics_next(tmp_path) as it:
        await it.visit(strategy=strategy, size=3, timeout=500)
        await it.chromium.run("six().then(() => null)")
        stored = await it.daemon.wait_for("events", 6)
        assert_each_once(it.proxy, stored)
        assert all(event["context"]["ip"] == "127.0.0.1" for event in stored)
        assert {request.path for request in it.proxy.sent if request.method == "POST"} == (
            {"/v1/b"} if strategy == "batching" else STANDARD
        )
        assert await it.chromium.problems() == []
        assert await it.chromium.hosts() == own_hosts(it.site, it.proxy.url)


async def test_a_batch_that_waits_when_the_page_is_left_still_goes_out(tmp_path: Path) -> None:
    async with analytics_next(tmp_path) as it:
        await it.visit(strategy="batching", size=100, timeout=3_600_000)
        await it.chromium.run("six().then(() => null)")
        assert it.proxy.posts() == []
        await it.leave()
        await it.each_once(6)
        assert {request.path for request in it.proxy.posts()} == {"/v1/b"}


async def test_an_event_that_waits_for_its_answer_when_the_page_is_left_comes_again_and_is_stored_once(
    tmp_path: Path,
) -> None:
    async with analytics_next(tmp_path) as it:
        held = Delay()
        it.proxy.faults.append(held)
        await it.visit()
        await it.chromium.run("void analytics.track('Left')")
        with anyio.fail_after(PATIENCE):
            await held.held.wait()
        await it.leave()
        await it.visit()
        await it.proxy.wait_until(lambda proxy: proxy.answers() == [0, 200])
        await it.each_once(1)


async def test_what_happens_offline_is_sent_once_the_network_is_back(tmp_path: Path) -> None:
    async with analytics_next(tmp_path) as it:
        await it.visit()
        await it.chromium.offline(True)
        await it.chromium.run("void six()")
        await it.chromium.run("analytics.track('Last').then(() => null)")
        assert it.proxy.posts() == []
        await it.chromium.offline(False)
        await it.each_once(7)


async def test_what_happens_offline_is_sent_by_the_next_page_where_this_one_is_closed_before(
    tmp_path: Path,
) -> None:
    async with analytics_next(tmp_path) as it:
        await it.visit()
        await it.chromium.offline(True)
        await it.chromium.run("analytics.track('Offline').then(() => null)")
        await it.chromium.offline(False)
        # … which the page may have had the time to notice, or not.
        await it.leave()
        await it.visit()
        await it.each_once(1)


async def test_a_busy_daemon_is_asked_again_when_it_said(tmp_path: Path) -> None:
    async with analytics_next(tmp_path) as it:
        it.proxy.faults.append(Fault(status=429, headers={"Retry-After": "1"}))
        await it.visit()
        await it.chromium.run("void analytics.track('Signed Up')")
        await it.each_once(1)
        assert it.proxy.answers() == [429, 200]
        assert it.proxy.posts()[1].headers["x-retry-count"] == "1"
        # By the page's own clock. One that cannot read Retry-After is back after 0.2 s (wire.md §0 rule 5).
        assert await it.chromium.run(BETWEEN_THE_TWO) >= 1000


@pytest.mark.parametrize("strategy", ["standard", "batching"])
@pytest.mark.parametrize(
    "fault",
    [Fault(status=500), Fault(status=429, headers={"Retry-After": "1"}), RESET, RESET_AFTER],
    ids=["500", "429", "reset", "answer lost"],
)
async def test_each_event_arrives_once_whatever_happens_to_its_request(
    tmp_path: Path, strategy: str, fault: Fault
) -> None:
    async with analytics_next(tmp_path) as it:
        it.proxy.faults.extend([fault, fault])
        await it.visit(strategy=strategy, size=3, timeout=500)
        await it.chromium.run("void six()")
        await it.proxy.wait_until(lambda proxy: len(proxy.posts()) > 2 and proxy.answers()[-1] == 200)
        await it.each_once(6)


async def test_a_page_with_a_key_that_nobody_has_sends_nothing(tmp_path: Path) -> None:
    async with analytics_next(tmp_path) as it:
        query = urlencode({"host": it.proxy.url, "key": "wk_nobody"})
        await it.chromium.open(f"{it.site}/next.html?{query}")
        await it.proxy.wait_until(lambda proxy: [one.status for one in proxy.sent] == [404])
        assert await it.chromium.hosts() == own_hosts(it.site, it.proxy.url)
