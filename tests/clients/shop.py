"""A shop: a site with an SDK on its pages, a daemon to which they send, and between them what can break."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlencode

from msgspec import Struct

from tests.clients.browser import PAGES, Browser, browser, website
from tests.clients.proxy import Proxy, proxy
from tests.clients.same import assert_same
from tests.clients.troubles import ids
from tests.running import RunningDaemon, running

KEY = "wk_clients_browser"


def config(public_url: str) -> str:
    return f"""
[http]
public_url = "{public_url}"

[sources.website]
write_keys = ["{KEY}"]
"""


class Shop(Struct):
    """A visitor's browser in it."""

    page: str
    """The page with the SDK, of tests/clients/page/."""
    site: str
    proxy: Proxy
    daemon: RunningDaemon
    chromium: Browser

    async def visit(self, **query: object) -> None:
        """Open the page and wait until its SDK has started."""
        asked = urlencode({"host": self.proxy.url, "key": KEY, **query})
        await self.chromium.open(f"{self.site}/{self.page}.html?{asked}")
        await self.chromium.run("ready")

    async def leave(self) -> None:
        """Go to a page of the site that has no SDK."""
        await self.chromium.open(f"{self.site}/empty.html")

    async def each_once(self, count: int) -> None:
        """`count` events were sent, and are stored once each, unchanged; what came twice is discarded, no more."""
        await self.proxy.wait_until(lambda proxy: len(proxy.events()) == count and _all_told(proxy))
        taken = Counter[str]()
        for request in self.proxy.posts():
            if request.daemon == 200:
                taken.update(ids(request.events()))
        twice = taken - Counter(list(taken))
        stored = await self.daemon.wait_for("events", count)
        sent = {event["messageId"]: event for event in self.proxy.events()}
        assert sorted(event["messageId"] for event in stored) == sorted(sent)
        for event in stored:
            assert_same(sent[event["messageId"]], event, "website")
        lines = self.daemon.lines("discarded")
        if twice:
            lines = await self.daemon.wait_for("discarded", twice.total())
        assert Counter(line["line"]["messageId"] for line in lines) == twice
        assert {line["code"] for line in lines} <= {"duplicate"}


def _all_told(proxy: Proxy) -> bool:
    """Whether the client was told that the daemon has each event that it sent: then it sends none again."""
    told = [request for request in proxy.posts() if request.status == 200]
    return {name for request in told for name in ids(request.events())} == set(ids(proxy.events()))


@asynccontextmanager
async def shop(folder: Path, page: str, sdk: Path) -> AsyncIterator[Shop]:
    """The shop of a page of tests/clients/page/; the folder `sdk` is served at `/sdk` beside it."""
    pages = {page: (PAGES / f"{page}.html").read_text(), "empty": "<!doctype html><title>Nothing</title>"}
    async with (
        proxy("") as between,
        website(pages, sdk=sdk) as site,
        browser() as chromium,
        running(folder, config(between.url)) as daemon,
    ):
        between.target = daemon.url
        yield Shop(page, site, between, daemon, chromium)
