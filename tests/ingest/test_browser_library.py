"""The browser library as it is served: names, caching, compression. In a real browser: tests/clients."""

from __future__ import annotations

import gzip
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import anyio
import pytest
from yarl import URL

from cdpd.config.analytics_js import read_library
from cdpd.ingest.browser_library import ENTRY as NAME
from cdpd.ingest.browser_library import Asset, BrowserLibrary, served
from cdpd.ingest.routes import library_file
from cdpd.ingest.settings import IngestSettings
from tests import running as daemon
from tests.analytics_js import CHUNK, ENTRY, write_package
from tests.ingest.running import KEY, Running, config, running


def library_at(path: Path) -> BrowserLibrary:
    return BrowserLibrary.of(read_library(path))


@pytest.fixture
def library(tmp_path: Path) -> BrowserLibrary:
    return library_at(write_package(tmp_path))


def entry(library: BrowserLibrary) -> Asset:
    found = library.find(NAME, host_known=True)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("/analytics.js/v1/WRITEKEY/analytics.min.js", ("WRITEKEY", "analytics.min.js")),
        ("/analytics.js/v1/a%2Fb/analytics.min.js", ("a%2Fb", "analytics.min.js")),
        ("/analytics.js/v1/WRITEKEY/x.bundle.0123.js", ("WRITEKEY", "x.bundle.0123.js")),
        ("/analytics-next/bundles/x.bundle.0123.js", (None, "x.bundle.0123.js")),
        ("/", None),
        ("/analytics.js/v1/", None),
        ("/analytics.js/v1/KEY", None),
        ("/analytics.js/v1/KEY/", None),
        ("/analytics.js/v1/KEY/a/b", None),
        ("/analytics-next/bundles/", None),
        ("/analytics-next/bundles/../x", None),
    ],
)
def test_a_path_names_a_file_and_maybe_a_key(path: str, found: tuple[str | None, str] | None) -> None:
    assert library_file(path) == found


@pytest.mark.parametrize(
    "name",
    ["", "standalone.js", "index.js", "standalone.js.map", f"{CHUNK}.map", "notes.txt", "../standalone.js",
     "..%2fnotes.txt", f"./{CHUNK}", "/etc/passwd"],
)  # fmt: skip
def test_nothing_but_the_library_can_be_had(library: BrowserLibrary, name: str) -> None:
    assert library.find(name, host_known=True) is None


def test_the_library_is_what_was_in_the_package_after_a_few_lines_that_say_where_it_is(
    library: BrowserLibrary,
) -> None:
    head, found, rest = entry(library).plain.partition(ENTRY)
    assert (found, rest) == (ENTRY, b"")
    assert b"_cdn=" in head
    assert b"apiHost" not in head
    assert library.chunks[CHUNK].plain == b"chunk " + CHUNK.encode()


def test_where_the_settings_name_no_host_the_library_is_told_where_events_go(library: BrowserLibrary) -> None:
    found = library.find(NAME, host_known=False)
    assert found is not None
    assert b"apiHost" in found.plain
    assert found.tag != entry(library).tag


def test_what_was_compressed_once_is_sent_to_those_who_take_it(library: BrowserLibrary) -> None:
    asset = entry(library)
    plain, zipped = served(asset, zipped=False), served(asset, zipped=True)
    assert plain.body == gzip.decompress(zipped.body) == asset.plain
    assert len(zipped.body) < len(plain.body)
    assert b"Content-Encoding: gzip\r\n" in zipped.extra
    assert b"Content-Encoding" not in plain.extra
    assert b"Vary: Accept-Encoding\r\n" in plain.extra
    assert b"Vary: Accept-Encoding\r\n" in zipped.extra


def test_the_entry_is_asked_for_again_soon_and_a_chunk_never(library: BrowserLibrary) -> None:
    assert b"Cache-Control: public, max-age=300\r\n" in served(entry(library), zipped=True).extra
    assert b"max-age=31536000, immutable\r\n" in served(library.chunks[CHUNK], zipped=True).extra


def test_who_has_it_already_gets_no_body_and_each_form_has_a_tag_of_its_own(library: BrowserLibrary) -> None:
    asset = entry(library)
    plain, zipped = f'"{asset.tag}"', f'"{asset.tag}-gzip"'
    for has in (zipped, f"W/{zipped}", f'"other", {zipped}', "*"):
        answer = served(asset, zipped=True, if_none_match=has)
        assert (answer.status, answer.body) == (304, b"")
        assert f"ETag: {zipped}\r\n".encode() in answer.extra
        assert b"Cache-Control: " in answer.extra
        assert b"Vary: " in answer.extra
    assert served(asset, zipped=True, if_none_match=plain).status == 200
    assert served(asset, zipped=False, if_none_match=plain).status == 304
    assert served(asset, zipped=False, if_none_match='"other"').status == 200


def test_the_same_files_have_the_same_tags_and_bytes_after_a_restart(tmp_path: Path) -> None:
    umd = write_package(tmp_path)
    first = library_at(umd)
    assert library_at(umd) == first
    (umd / "standalone.js").write_bytes(ENTRY + b"// newer")
    assert library_at(umd).entry.tag != first.entry.tag


# -- over HTTP -----------------------------------------------------------------------------------------


@asynccontextmanager
async def serving(library: BrowserLibrary | None, **http: object) -> AsyncIterator[Running]:
    async with running(**http) as server:
        server.ingest.apply(IngestSettings.of(config(**http), 7, library))
        yield server


async def test_a_page_of_any_site_gets_it_in_one_form_that_any_cache_may_keep(
    library: BrowserLibrary,
) -> None:
    async with serving(library, public_url="https://cdp.example.com") as server:
        url = f"{server.bound.url}/analytics.js/v1/{KEY}/analytics.min.js"
        for origin in ({}, {"Origin": "https://shop.example"}):
            async with server.http.get(url, headers={"Accept-Encoding": "gzip", **origin}) as answer:
                assert answer.status == 200
                assert await answer.read() == library.entry.plain
                assert answer.headers["Content-Type"] == "text/javascript; charset=utf-8"
                assert answer.headers["Content-Encoding"] == "gzip"
                assert answer.headers["Content-Length"] == str(len(library.entry.gzipped))
                assert answer.headers.getall("Access-Control-Allow-Origin") == ["*"]
                assert answer.headers.getall("Vary") == ["Accept-Encoding"]
                assert answer.headers["X-Content-Type-Options"] == "nosniff"
                assert "Set-Cookie" not in answer.headers
        async with server.http.get(url, headers={"If-None-Match": f'"{library.entry.tag}-gzip"'}) as answer:
            assert (answer.status, await answer.read()) == (304, b"")
            assert "Content-Length" not in answer.headers
            assert "Content-Type" not in answer.headers
        async with server.http.head(url) as answer:
            assert (answer.status, await answer.read()) == (200, b"")
            assert answer.headers["Content-Length"] == str(len(library.entry.gzipped))
        async with server.http.post(url) as answer:
            assert (answer.status, answer.headers["Allow"]) == (405, "GET, HEAD, OPTIONS")


async def test_a_connection_is_good_for_more_after_a_304(library: BrowserLibrary) -> None:
    async with serving(library, public_url="https://cdp.example.com") as server:
        ask = f"GET /analytics.js/v1/{KEY}/analytics.min.js HTTP/1.1\r\nHost: x\r\n"
        have = f'If-None-Match: "{library.entry.tag}"\r\n'
        answers = await server.raw(f"{ask}{have}\r\n{ask}Connection: close\r\n\r\n".encode())
        first, _, second = answers.partition(b"\r\n\r\n")
        assert first.startswith(b"HTTP/1.1 304 ")
        assert second.startswith(b"HTTP/1.1 200 ")
        assert second.endswith(library.entry.plain)


async def test_chunks_are_found_beside_the_script_and_where_the_library_asks(library: BrowserLibrary) -> None:
    async with serving(library) as server:
        for folder in (f"analytics.js/v1/{KEY}", "analytics-next/bundles"):
            async with server.http.get(f"{server.bound.url}/{folder}/{CHUNK}") as answer:
                assert answer.status == 200
                assert await answer.read() == library.chunks[CHUNK].plain
                assert "immutable" in answer.headers["Cache-Control"]


async def test_without_a_public_url_the_script_says_where_events_go(library: BrowserLibrary) -> None:
    url = f"/analytics.js/v1/{KEY}/analytics.min.js"
    async with serving(library) as server, server.http.get(server.bound.url + url) as answer:
        assert await answer.read() == library.entry_for_events.plain


@pytest.mark.parametrize(
    ("path", "served_here", "code"),
    [
        ("/analytics.js/v1/nobody/analytics.min.js", True, "unknown_source"),
        (f"/analytics.js/v1/{KEY}/standalone.js", True, "not_found"),
        (f"/analytics.js/v1/{KEY}/..%2f..%2fcdpd.toml", True, "not_found"),
        ("/analytics-next/bundles/index.js", True, "not_found"),
        (f"/analytics.js/v1/{KEY}/analytics.min.js", False, "not_found"),
    ],
)
async def test_what_is_not_there_is_a_404_in_json(
    library: BrowserLibrary, path: str, served_here: bool, code: str
) -> None:
    async with (
        serving(library if served_here else None) as server,
        server.http.get(URL(server.bound.url + path, encoded=True)) as answer,
    ):
        assert answer.status == 404
        said = await answer.json()
        assert said["code"] == code
        assert ("analytics_js" in said["message"]) != served_here


# -- a daemon ------------------------------------------------------------------------------------------


async def test_a_reload_reads_the_files_again_and_keeps_the_old_ones_where_they_are_broken(
    tmp_path: Path,
) -> None:
    umd = write_package(tmp_path / "browser")
    settings = f'[sources.website]\nwrite_keys = ["{KEY}"]\n[http]\nanalytics_js = "../browser"\n'
    async with daemon.running(tmp_path / "cdpd", settings) as running_daemon, aiohttp.ClientSession() as http:

        async def served_now() -> bytes:
            url = f"{running_daemon.url}/analytics.js/v1/{KEY}/analytics.min.js"
            async with http.get(url) as answer:
                return await answer.read()

        assert (await served_now()).endswith(ENTRY)
        (umd / "standalone.js").write_bytes(ENTRY + b"// newer")
        assert (await served_now()).endswith(ENTRY)
        await anyio.run_process(running_daemon.command("reload"))
        assert (await served_now()).endswith(b"// newer")
        (umd / "standalone.js").unlink()
        done = await anyio.run_process(running_daemon.command("reload"), check=False)
        assert done.returncode == 2
        assert b"http.analytics_js: there is no standalone.js in" in done.stderr
        assert (await served_now()).endswith(b"// newer")
