"""`@segment/analytics-next` from npm in headless Chromium, with nothing but the daemon's address; and all that goes
wrong for a page: it is left, the network is gone, the daemon is busy or broken. Each event arrives once."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlencode

import anyio
import pytest
from msgspec import Struct

from tests.clients.browser import PAGES, Browser, browser, own_hosts, website
from tests.clients.proxy import RESET, RESET_AFTER, Delay, Fault, Proxy, proxy
from tests.clients.same import assert_each_once, assert_same
from tests.clients.troubles import assert_stored_once, ids
from tests.running import PATIENCE, RunningDaemon, running
from tests.services import node_modules

KEY = "wk_clients_browser"
STANDARD = {"/v1/i", "/v1/t", "/v1/p", "/v1/s", "/v1/g", "/v1/a"}
SIX = "six().then(() => null)"
BETWEEN_THE_TWO = """new Promise((done) => {
  const look = () => {
    const [first, second] = performance.getEntriesByType('resource').filter((one) => one.name.endsWith('/v1/t'))
    if (second) done(second.startTime - first.responseEnd)
  }
  new PerformanceObserver(look).observe({ type: 'resource', buffered: true })
})"""
"""Milliseconds from the first answer to the second request."""


def config(public_url: str) -> str:
    return f"""
[http]
public_url = "{public_url}"

[sources.website]
write_keys = ["{KEY}"]
"""


class Shop(Struct):
    """A site whose pages send to a daemon, through a proxy that can break things."""

    site: str
    proxy: Proxy
    daemon: RunningDaemon
    chromium: Browser

    async def visit(self, strategy: str = "standard", size: int = 3, wait_ms: int = 500) -> None:
        """Open the page and wait until its analytics has started."""
        query = {"host": self.proxy.url, "key": KEY, "strategy": strategy, "size": size, "timeout": wait_ms}
        await self.chromium.open(f"{self.site}/next.html?{urlencode(query)}")
        await self.chromium.run("ready")

    async def leave(self) -> None:
        """Go to another page of the site, one without analytics."""
        await self.chromium.open(f"{self.site}/empty.html")

    async def each_once(self, count: int) -> None:
        """`count` events are stored, each once, and as they were sent."""
        stored = await self.daemon.wait_for("events", count)
        sent = {event["messageId"]: event for event in self.proxy.events()}
        assert sorted(event["messageId"] for event in stored) == sorted(sent)
        for event in stored:
            assert_same(sent[event["messageId"]], event, "website")


@asynccontextmanager
async def shop(folder: Path) -> AsyncIterator[Shop]:
    pages = {"next": (PAGES / "next.html").read_text(), "empty": "<!doctype html><title>Nothing</title>"}
    sdk = node_modules() / "@segment/analytics-next/dist/umd"
    async with (
        proxy("") as between,
        website(pages, sdk=sdk) as site,
        browser() as chromium,
        running(folder, config(between.url)) as daemon,
    ):
        between.target = daemon.url
        yield Shop(site, between, daemon, chromium)


@pytest.mark.parametrize("strategy", ["standard", "batching"])
async def test_the_six_calls_arrive_once_and_the_browser_talks_to_no_other_host(
    tmp_path: Path, strategy: str
) -> None:
    async with shop(tmp_path) as it:
        await it.visit(strategy)
        await it.chromium.run(SIX)
        stored = await it.daemon.wait_for("events", 6)
        assert_each_once(it.proxy, stored)
        assert all(event["context"]["ip"] == "127.0.0.1" for event in stored)
        assert {request.path for request in it.proxy.sent if request.method == "POST"} == (
            {"/v1/b"} if strategy == "batching" else STANDARD
        )
        assert await it.chromium.problems() == []
        assert await it.chromium.hosts() == own_hosts(it.site, it.proxy.url)


async def test_a_batch_that_waits_when_the_page_is_left_still_goes_out(tmp_path: Path) -> None:
    async with shop(tmp_path) as it:
        await it.visit("batching", size=100, wait_ms=3_600_000)
        await it.chromium.run(SIX)
        assert it.proxy.posts() == []
        await it.leave()
        await it.each_once(6)
        assert {request.path for request in it.proxy.posts()} == {"/v1/b"}


async def test_an_event_that_waits_for_its_answer_when_the_page_is_left_comes_again_and_is_stored_once(
    tmp_path: Path,
) -> None:
    async with shop(tmp_path) as it:
        held = Delay()
        it.proxy.faults.append(held)
        await it.visit()
        await it.chromium.run("void analytics.track('Left')")
        with anyio.fail_after(PATIENCE):
            await held.held.wait()
        await it.leave()
        await it.visit()
        await it.proxy.wait_until(lambda proxy: len(proxy.posts()) == 2)
        await it.each_once(1)
        (discarded,) = await it.daemon.wait_for("discarded", 1)
        assert discarded["code"] == "duplicate"


async def test_what_happens_offline_is_sent_once_the_network_is_back(tmp_path: Path) -> None:
    async with shop(tmp_path) as it:
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
    async with shop(tmp_path) as it:
        await it.visit()
        await it.chromium.offline(True)
        await it.chromium.run("analytics.track('Offline').then(() => null)")
        await it.chromium.offline(False)
        # … which the page may or may not have had the time to notice.
        await it.leave()
        await it.visit()
        await it.each_once(1)


async def test_a_busy_daemon_is_asked_again_when_it_said_and_gets_each_event_once(tmp_path: Path) -> None:
    async with shop(tmp_path) as it:
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
    async with shop(tmp_path) as it:
        it.proxy.faults.extend([fault, fault])
        await it.visit(strategy)
        await it.chromium.run("void six()")
        await it.proxy.wait_until(lambda proxy: len(proxy.events()) == 6 and answered(proxy))
        await assert_stored_once(it.daemon, it.proxy)


def answered(proxy: Proxy) -> bool:
    """Whether the client has been told of each event that it is stored."""
    told = [request for request in proxy.posts() if request.status == 200]
    return {name for one in told for name in ids(one.events())} == set(ids(proxy.events()))


async def test_a_page_with_a_key_that_nobody_has_sends_nothing(tmp_path: Path) -> None:
    async with shop(tmp_path) as it:
        query = urlencode({"host": it.proxy.url, "key": "wk_nobody", "strategy": "standard"})
        await it.chromium.open(f"{it.site}/next.html?{query}")
        await it.proxy.wait_until(lambda proxy: [one.status for one in proxy.sent] == [404])
        assert await it.chromium.hosts() == own_hosts(it.site, it.proxy.url)
