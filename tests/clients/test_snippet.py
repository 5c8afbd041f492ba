"""The snippet of a website in Chromium, and the lines that `cdpd snippet` prints, each run as it is."""

from __future__ import annotations

import sys
from pathlib import Path

import anyio
import pytest

from cdpd.config.analytics_js import read_library
from cdpd.ingest.browser_library import BrowserLibrary
from cdpd.ingest.settings import IngestSettings
from tests.clients.browser import browser, own_hosts, website
from tests.clients.proxy import proxy
from tests.clients.same import assert_each_once
from tests.ingest import running as ingest
from tests.running import RunningDaemon, running
from tests.services import node_modules, program

KEY = "wk_clients_snippet"
SIX = """(async () => {
  analytics.identify('u1', { email: 'ada@example.com' })
  analytics.track('Order Completed', { revenue: 12.5, products: [{ sku: 'a' }], none: null, text: 'ü' })
  analytics.screen('Settings', { dark: true })
  analytics.group('g1', { name: 'ACME' })
  analytics.alias('u2', 'u1')
})()"""


def config(public_url: str, library: Path | None = None) -> str:
    served = f'analytics_js = "{library}"' if library else ""
    return f"""
[http]
public_url = "{public_url}"
{served}

[sources.website]
write_keys = ["{KEY}", "wk_older"]
"""


def package() -> Path:
    return node_modules() / "@segment" / "analytics-next"


async def usual_snippet(host: str, key: str = KEY) -> str:
    """The snippet as the vendor's own package renders it, with nothing but the host changed."""
    render = (
        "const [host, apiKey] = process.argv.slice(1);"
        "console.log(require('@segment/snippet').max({ host, apiKey }))"
    )
    done = await anyio.run_process([program("node", "nodejs"), "-e", render, host, key], cwd=node_modules())
    return done.stdout.decode()


def page(snippet: str) -> str:
    return f"<!doctype html><head><meta charset=utf-8><title>Shop</title>{snippet}</head><body>Hello</body>"


async def printed(daemon: RunningDaemon, sdk: str, *more: str) -> str:
    done = await anyio.run_process(daemon.command("snippet", "website", "--sdk", sdk, *more))
    assert not done.stderr
    return done.stdout.decode()


async def test_the_usual_snippet_works_with_only_its_host_changed(tmp_path: Path) -> None:
    async with proxy("") as between, running(tmp_path, config(between.url, package())) as daemon:
        between.target = daemon.url
        # It writes https:// itself; there is no certificate here.
        snippet = (await usual_snippet("HOST")).replace("https://HOST", between.url)
        async with website({"shop": page(f"<script>{snippet}</script>")}) as site, browser() as chromium:
            await chromium.open(f"{site}/shop.html?x=1")
            await chromium.run(SIX)
            stored = await daemon.wait_for("events", 6)
            assert_each_once(between, stored)
            (viewed,) = [event for event in stored if event["type"] == "page"]
            assert viewed["properties"]["url"] == f"{site}/shop.html?x=1"
            assert await chromium.hosts() == own_hosts(site, between.url)
            assert await chromium.problems() == []
            asked = await chromium.asked(between.url)
            assert asked[:2] == [f"/analytics.js/v1/{KEY}/analytics.min.js", f"/v1/projects/{KEY}/settings"]


async def test_what_the_library_loads_later_comes_from_the_daemon_too(tmp_path: Path) -> None:
    async with running(tmp_path, config("http://127.0.0.1:1", package())) as daemon:
        snippet = (await usual_snippet("HOST")).replace("https://HOST", daemon.url)
        async with website({"shop": page(f"<script>{snippet}</script>")}) as site, browser() as chromium:
            # The library has a chunk of its own for what such a link says of its visitor.
            await chromium.open(f"{site}/shop.html?ajs_uid=u7&ajs_event=Clicked")
            assert (
                await chromium.run(
                    "new Promise(done => analytics.ready(() => done(true))).then(() => analytics.user().id())"
                )
                == "u7"
            )
            chunks = [path for path in await chromium.asked(daemon.url) if ".bundle." in path]
            assert any("queryString.bundle." in path for path in chunks)
            assert own_hosts("https://cdn.segment.com") & await chromium.hosts() == set()


async def test_without_a_public_url_events_go_to_where_the_script_came_from() -> None:
    library = BrowserLibrary.of(read_library(package()))
    async with ingest.running() as server:
        server.ingest.apply(IngestSettings.of(ingest.config(), 7, library))
        snippet = (await usual_snippet("HOST", ingest.KEY)).replace("https://HOST", server.bound.url)
        async with website({"shop": page(f"<script>{snippet}</script>")}) as site, browser() as chromium:
            await chromium.open(f"{site}/shop.html")
            await chromium.run("new Promise(done => analytics.track('Bought', {}, done)).then(() => null)")
            assert await chromium.hosts() == own_hosts(site, server.bound.url)
            assert {event["type"] for event in server.events} >= {"track"}


async def test_the_printed_tag_works_as_it_is(tmp_path: Path) -> None:
    async with proxy("") as between, running(tmp_path, config(between.url, package())) as daemon:
        between.target = daemon.url
        tag = await printed(daemon, "browser")
        # Calls before the library is there are kept, and those through what was kept of the list go on working.
        early = (
            "<script>var early = analytics; analytics.track('Early');"
            "analytics.ready(() => early.track('Late'))</script>"
        )
        async with website({"shop": page(tag + early)}) as site, browser() as chromium:
            await chromium.open(f"{site}/shop.html?x=1")
            await chromium.run("history.pushState({}, '', '/elsewhere')")
            await chromium.run(SIX)
            stored = await daemon.wait_for("events", 8)
            assert_each_once(between, stored)
            assert {event["event"] for event in stored if event["type"] == "track"} == {
                "Early",
                "Late",
                "Order Completed",
            }
            (viewed,) = [event for event in stored if event["type"] == "page"]
            assert viewed["properties"]["url"] == f"{site}/shop.html?x=1"
            assert await chromium.hosts() == own_hosts(site, between.url)
            assert await chromium.problems() == []


async def test_the_tag_and_the_usual_snippet_on_one_page_load_the_library_once(tmp_path: Path) -> None:
    async with running(tmp_path, config("http://127.0.0.1:1", package())) as daemon:
        tag = await printed(daemon, "browser", "--host", daemon.url)
        snippet = (await usual_snippet("HOST")).replace("https://HOST", daemon.url)
        async with (
            website({"shop": page(f"{tag}{tag}<script>{snippet}</script>")}) as site,
            browser() as chromium,
        ):
            await chromium.open(f"{site}/shop.html")
            await chromium.run("new Promise(done => analytics.ready(() => done(true)))")
            scripts = [
                path for path in await chromium.asked(daemon.url) if path.endswith("/analytics.min.js")
            ]
            assert len(scripts) == 1
            (stored,) = await daemon.wait_for("events", 1)
            assert stored["type"] == "page"


async def test_the_printed_lines_of_rudderstacks_browser_sdk_work_as_they_are(tmp_path: Path) -> None:
    async with running(tmp_path, config("http://127.0.0.1:1")) as daemon:
        lines = await printed(daemon, "rudder-js", "--host", daemon.url)
        imports = '{"imports": {"@rudderstack/analytics-js/bundled": "/sdk/index.mjs"}}'
        tags = f'<script type="importmap">{imports}</script><script type="module">{lines}</script>'
        sdk = node_modules() / "@rudderstack/analytics-js/dist/npm/modern/bundled/esm"
        async with website({"shop": page(tags)}, sdk=sdk) as site, browser() as chromium:
            await chromium.open(f"{site}/shop.html")
            stored = await daemon.wait_for("events", 2)
            assert sorted(event["type"] for event in stored) == ["page", "track"]


async def run_lines(sdk: str, lines: str, folder: Path) -> None:
    """The lines as a program of their language."""
    if sdk == "curl":
        await anyio.run_process(["sh", "-ec", lines.replace("curl ", "curl -sS --fail ")])
    elif sdk in ("python", "rudder-python"):
        await anyio.run_process([sys.executable, "-c", lines])
    else:
        (folder / "node_modules").symlink_to(node_modules())
        (folder / "lines.mjs").write_text(lines)
        await anyio.run_process([program("node", "nodejs"), "lines.mjs"], cwd=folder)


@pytest.mark.parametrize("sdk", ["curl", "python", "node", "rudder-python", "rudder-node"])
async def test_the_printed_lines_work_as_they_are(tmp_path: Path, sdk: str) -> None:
    (tmp_path / "app").mkdir()
    async with (
        running(tmp_path / "cdpd", config("http://127.0.0.1:1")) as daemon,
        proxy(daemon.url) as between,
    ):
        lines = await printed(daemon, sdk, "--host", between.url)
        with anyio.fail_after(30):
            await run_lines(sdk, lines, tmp_path / "app")
        (stored,) = await daemon.wait_for("events", 1)
        assert (stored["event"], stored["userId"], stored["properties"]) == (
            "Signed Up",
            "u1",
            {"plan": "pro"},
        )


async def test_the_printed_image_counts_an_opened_mail(tmp_path: Path) -> None:
    async with running(tmp_path, config("http://127.0.0.1:1")) as daemon:
        tag = await printed(daemon, "pixel", "--host", daemon.url)
        async with website({"mail": page(tag)}) as site, browser() as chromium:
            await chromium.open(f"{site}/mail.html")
            (stored,) = await daemon.wait_for("events", 1)
            assert (stored["event"], stored["userId"]) == ("Email Opened", "u1")
